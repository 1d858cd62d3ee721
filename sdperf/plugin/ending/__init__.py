"""What happens when a session ends: judge, confirm, save, keep, and write reports."""
