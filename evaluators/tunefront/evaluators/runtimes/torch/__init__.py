"""PyTorch: an exported program run eagerly, and tensor parallelism."""
