"""The two sides of a comparison: how each is written, made and installed."""
