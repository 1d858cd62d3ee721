"""The judges: measured numbers and their history in, `sdperf.verdict.Finding` out. Pure."""
