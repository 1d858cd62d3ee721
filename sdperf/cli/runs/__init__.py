"""Commands that read saved runs: compare, report, history and their like."""
