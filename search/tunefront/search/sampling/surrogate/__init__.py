"""Predictions of metrics: Gaussian processes over configurations."""
