"""Choice of the next configuration: samplers, surrogate models, early stopping, warm start."""
