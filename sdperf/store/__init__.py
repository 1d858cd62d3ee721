"""Files that outlive a run: images by content hash, saved sessions, baselines."""
