"""Does TPE find in 50 trials what chance finds in 150? Asked of a grid of recorded settings."""
