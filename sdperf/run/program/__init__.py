"""A worker whose pictures an external program draws: `asked` answers in place of a pipeline."""
