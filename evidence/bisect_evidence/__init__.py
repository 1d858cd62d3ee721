"""Evidence for ``sdperf bisect``: its errors in simulation, and planted commits that it found."""
