"""Artifacts under exact keys: the store, its locks, and eviction."""
