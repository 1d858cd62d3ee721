"""What ``sdperf init`` writes into a repository: planned from its files, then written in one go."""
