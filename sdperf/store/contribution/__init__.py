"""The figures of a run in a file without names of persons, machines or places."""
