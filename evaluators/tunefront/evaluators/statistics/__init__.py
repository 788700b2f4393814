"""Measurements, intervals and comparisons: mathematics over numpy arrays."""
