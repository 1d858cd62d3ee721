"""Changes of level over all runs of a machine, and what came with them. Pure."""
