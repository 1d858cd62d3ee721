"""How often a trend is wrong about mere noise, and how soon it sees a change."""
