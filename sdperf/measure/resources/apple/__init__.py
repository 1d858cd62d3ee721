"""Sensors of Apple machines and the parsers of what they print."""
