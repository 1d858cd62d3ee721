"""Kills commands at random moments, and looks whether anything that they finished is lost."""
