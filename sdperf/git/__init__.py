"""Asks git: its command without hooks or watchers, and what came with a repository."""
