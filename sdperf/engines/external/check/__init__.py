"""Compares an external program with the contract: `trying` runs it, `judging` judges."""
