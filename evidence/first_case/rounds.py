"""Rounds of one pipeline from its first call on, with what the system counts of each."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from sdperf.models.loader import resolve_model
from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, WorkerSpec


@dataclass(frozen=True)
class CountedRound:
    """One round.

    Attributes:
        since_s: Seconds since the first call began.
        wall_s: Its wall time.
        user_s: Processor seconds of the process in its own code.
        system_s: Processor seconds of the process in the kernel.
        waiting_s: Seconds for which its threads could run and had no processor, summed over them;
            ``None`` where the kernel does not count it.
        minor_faults: Pages that were mapped without a disk.
        major_faults: Pages that were read from a disk.
        voluntary_switches: Times that a thread went to sleep.
        involuntary_switches: Times that a thread lost its processor.
        huge_bytes: Memory of the process in huge pages afterwards; ``None`` is unknown.
    """

    since_s: float
    wall_s: float
    user_s: float
    system_s: float
    waiting_s: float | None
    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    huge_bytes: int | None


def count_rounds(precision: str, threads: int, rounds: int, pause_s: float) -> list[CountedRound]:
    """Load the embedded pipeline in this process and run rounds of one image back to back.

    Args:
        precision: Number format.
        threads: CPU threads.
        rounds: How many, the first call among them.
        pause_s: Seconds of sleep between loading and the first call.
    """
    workload = Workload(
        model="embedded", prompts=("red apple",), num_inference_steps=20, guidance_scale=3.0
    )
    worker.load(WorkerSpec(resolve_model("embedded"), precision, "cpu"))
    request = RoundRequest(workload, (workload.image(0),), "sync", threads)
    time.sleep(pause_s)
    begun_s = time.perf_counter()
    return [_count(request, begun_s) for _ in range(rounds)]


def _count(request: RoundRequest, begun_s: float) -> CountedRound:
    waiting_s, before = _read_waiting_s(), resource.getrusage(resource.RUSAGE_SELF)
    started_s = time.perf_counter()
    worker.run_round(request)
    ended_s = time.perf_counter()
    after, waited_s = resource.getrusage(resource.RUSAGE_SELF), _read_waiting_s()
    return CountedRound(
        since_s=round(started_s - begun_s, 4),
        wall_s=round(ended_s - started_s, 5),
        user_s=round(after.ru_utime - before.ru_utime, 5),
        system_s=round(after.ru_stime - before.ru_stime, 5),
        waiting_s=None if waiting_s is None or waited_s is None else round(waited_s - waiting_s, 5),
        minor_faults=after.ru_minflt - before.ru_minflt,
        major_faults=after.ru_majflt - before.ru_majflt,
        voluntary_switches=after.ru_nvcsw - before.ru_nvcsw,
        involuntary_switches=after.ru_nivcsw - before.ru_nivcsw,
        huge_bytes=_read_huge_bytes(),
    )


def _read_waiting_s() -> float | None:
    try:
        tasks = list(Path("/proc/self/task").iterdir())
        return sum(int((one / "schedstat").read_text().split()[1]) for one in tasks) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def _read_huge_bytes() -> int | None:
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("AnonHugePages:")]
    return int(found[0]) * 1024 if found else None


def main() -> None:
    """Run in a process of its own: precision, threads, rounds, pause, processors; print JSON."""
    precision, threads, rounds, pause_s, cpus = sys.argv[1:]
    os.sched_setaffinity(0, [int(one) for one in cpus.split(",")])
    counted = count_rounds(precision, int(threads), int(rounds), float(pause_s))
    print(json.dumps([asdict(one) for one in counted]))


if __name__ == "__main__":
    main()
