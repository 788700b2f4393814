"""Runtimes: they build, open and profile candidates; one folder each."""
