"""Columns of a line, for tests of what fits a terminal."""


def count_columns(line):
    """Return the columns of a line; a path or setting of 50 letters at its end is never divided."""
    *_, last = line.split() or [""]
    return len(line) - (len(last) if len(last) >= 50 else 0)
