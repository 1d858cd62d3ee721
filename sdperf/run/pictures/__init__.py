"""The images of a session: drawn for comparison, looked at, scored."""
