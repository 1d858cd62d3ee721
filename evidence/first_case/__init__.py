"""Is the first case of a process slower than the same work later, and what is counted of it?"""
