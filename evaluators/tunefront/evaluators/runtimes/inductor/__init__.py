"""The Inductor runtime: ahead-of-time compilation by torch.compile's backend."""
