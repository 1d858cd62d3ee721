"""The history: every run that was kept, in SQLite or PostgreSQL, by one schema with migrations.

Nothing here judges. Runs that failed, were void or interrupted are kept like all others, with what
they came to; whoever reads decides what counts.
"""
