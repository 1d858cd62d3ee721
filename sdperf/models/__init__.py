"""Models: which files make one, where they are, how they become a pipeline."""
