"""The records of a run as frozen values: workload, measurement, guards, floors and verdicts."""
