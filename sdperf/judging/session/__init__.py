"""A whole session judged: against saved runs, accepted sessions, and after confirmation."""
