"""Dominance, hypervolume, picks, relaxation of limits: pure functions."""
