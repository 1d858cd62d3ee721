"""Judges of what a case takes from the machine beside time: memory, its growth, energy, cores."""
