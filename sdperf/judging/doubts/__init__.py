"""What makes a figure doubtful: contradictions, impossible gains, order, another execution."""
