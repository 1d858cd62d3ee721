"""A session of pytest while it runs: what it knows, what its tests left, its workers."""
