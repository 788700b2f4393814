"""Profiling of a trial, and choices that could address its bottlenecks."""
