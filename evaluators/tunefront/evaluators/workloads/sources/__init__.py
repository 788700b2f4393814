"""Sources of models and data."""
