"""Does the history hold up with 100,000 runs?"""
