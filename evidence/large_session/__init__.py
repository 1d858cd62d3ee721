"""Where the wall time of a session with a large pipeline goes, before a change and after it."""
