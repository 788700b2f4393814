"""Interleaved benchmarking of candidates in separate processes."""
