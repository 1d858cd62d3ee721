"""The figures of a run in a file that names nobody."""
