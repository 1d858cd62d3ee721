"""One trial: the rig that draws, the measurement and its score."""
