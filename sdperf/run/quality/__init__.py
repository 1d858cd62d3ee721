"""The quality suite's questions to a worker, and the recorded answers."""
