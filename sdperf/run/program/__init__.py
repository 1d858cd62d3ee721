"""A worker whose pictures a program of the user's draws: `asked` answers what a pipeline would."""
