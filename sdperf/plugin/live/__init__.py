"""A running pytest session: its state, the results of its tests, its workers."""
