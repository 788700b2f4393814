"""The engine `transformers`: a checkpoint, decoded greedily by torch with a KV cache."""
