"""Models: their files, the places of these files, and loading them as a pipeline."""
