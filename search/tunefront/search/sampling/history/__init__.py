"""Earlier searches on this machine: what they measured, and what a sampler learns from it."""
