"""The judges: measured numbers and their history in, `sdperf.record.verdict.Finding` out. Pure."""
