"""Plans what ``sdperf init`` writes into a repository from the repository's files."""
