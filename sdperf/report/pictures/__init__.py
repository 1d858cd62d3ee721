"""A run's images, side by side and with their damage outlined."""
