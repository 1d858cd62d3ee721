"""Summaries in Markdown, for a job, a pull request or a file."""
