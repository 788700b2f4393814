"""Measures taken while a candidate runs: memory, energy, machine state."""
