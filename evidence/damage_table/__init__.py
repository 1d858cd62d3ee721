"""Which gate catches which damage: each planted for real on the embedded model, and judged."""
