"""The images of a session: drawn for comparison, examined and scored."""
