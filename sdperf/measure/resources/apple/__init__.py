"""Sensors of Apple machines and parsers of their output."""
