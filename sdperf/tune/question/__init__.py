"""What a study asks: search space, settings and limits."""
