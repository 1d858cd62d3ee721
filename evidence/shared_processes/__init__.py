"""What it costs that blocks share processes: intervals of stages replayed, errors simulated."""
