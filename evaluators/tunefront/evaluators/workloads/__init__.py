"""Workloads: a model, its data and its quality metric; one file per task."""
