"""Reasons to doubt a figure: contradictions, impossible gains, order, different execution."""
