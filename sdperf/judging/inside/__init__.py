"""Compares the values between components with a reference or an earlier session."""
