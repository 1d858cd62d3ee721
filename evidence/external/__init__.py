"""Programs that draw, and tiny models for them: see README.md."""
