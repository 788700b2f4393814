"""Techniques that transform a torch module into a torch module, such as pruning; one file each."""
