"""What to try next: samplers, the surrogate model, early stopping, warm start."""
