"""The history: every kept run, in SQLite or PostgreSQL, with one schema and its migrations.

Nothing here judges. Runs that failed, were void or were interrupted are kept like all others, with
their outcomes; the reader decides what counts.
"""
