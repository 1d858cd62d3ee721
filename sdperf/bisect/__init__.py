"""The search for the commit or the package version that made a difference."""
