"""What is watched while a candidate runs: memory, energy, machine state."""
