"""The judges: they turn measured numbers and history into a `Finding` of `sdperf.record`. Pure."""
