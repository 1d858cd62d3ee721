"""Changes of level over all runs of a machine, and what changed at the same time. Pure."""
