"""The quality suite's questions to a worker, and what they recorded."""
