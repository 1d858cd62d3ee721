"""Programs that make the figures below docs/results."""
