"""A plugin for inner sessions: a round takes the processor seconds that its workers counted.

Verdicts then say what was executed, and a machine that others use changes nothing of them.
"""

import dataclasses

from sdperf.run.pool import WorkerPool

_run_round = WorkerPool.run_round


def run_round(pool, requests, first=0):
    found = _run_round(pool, requests, first)
    assert found.cpu_s, "the system counts processor seconds"
    return dataclasses.replace(found, duration_s=found.cpu_s)


WorkerPool.run_round = run_round
