"""torch.compile's Inductor, compiled ahead of time."""
