"""What a run writes down, as frozen values: workload, measurement, guards, floors and verdicts."""
