"""Tables of one session for a terminal."""
