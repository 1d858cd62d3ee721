"""Judges of the resources of a case beside time: memory, its growth, energy, cores."""
