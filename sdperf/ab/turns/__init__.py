"""Taking turns: the block engine, its arms, and what both sides need to be compared fairly."""
