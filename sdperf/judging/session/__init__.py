"""Judges a whole session: against saved runs or accepted sessions, and after confirmation."""
