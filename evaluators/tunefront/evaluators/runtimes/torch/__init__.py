"""The PyTorch runtime: exported programs run eagerly, and tensor parallelism."""
