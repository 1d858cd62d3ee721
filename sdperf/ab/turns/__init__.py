"""Taking turns: the block engine, its arms, and what makes the comparison of two sides fair."""
