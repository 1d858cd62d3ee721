"""Measure what watching costs, and print it as a table or JSON."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdperf.measure.clock import monotonic_clock
from sdperf.measure.environment import collect_environment
from sdperf.measure.resources.sampler import DEFAULT_INTERVAL_S
from sdperf.models.loader import resolve_model
from sdperf.record.workload import EMBEDDED, PRECISIONS, Workload
from sdperf.run.machine import LiveMachine
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from sdperf.run.suite import count_cpu_threads
from sdperf.stats.paired import choose_block_order, compute_block_contrast
from sdperf.stats.summaries import compute_median_interval


@dataclass(frozen=True)
class Cost:
    """One kind of watching against none.

    Attributes:
        watching: What B does that A does not.
        plain_median_s: Median of A's windows (of `--rounds` rounds) or profiled rounds.
        watched_median_s: Median of B's.
        ratio_of_medians: The one over the other.
        median_block_ratio: Median of the blocks' ratios, free of linear drift.
        lower: Lower end of its interval.
        upper: Upper end.
        coverage: Of the interval.
        blocks: How many blocks of four.
    """

    watching: str
    plain_median_s: float
    watched_median_s: float
    ratio_of_medians: float
    median_block_ratio: float
    lower: float
    upper: float
    coverage: float
    blocks: int


def compute_cost(watching: str, blocks: Sequence[tuple[str, Sequence[float]]]) -> Cost:
    """Sum up blocks of (order, durations)."""
    contrasts = [compute_block_contrast(order, durations) for order, durations in blocks]
    interval = compute_median_interval(contrasts)
    arms = {
        arm: statistics.median(
            duration
            for order, durations in blocks
            for name, duration in zip(order, durations, strict=True)
            if name == arm
        )
        for arm in "AB"
    }
    return Cost(
        watching=watching,
        plain_median_s=arms["A"],
        watched_median_s=arms["B"],
        ratio_of_medians=arms["B"] / arms["A"],
        median_block_ratio=math.exp(statistics.median(contrasts)),
        lower=math.exp(interval.lower),
        upper=math.exp(interval.upper),
        coverage=interval.coverage,
        blocks=len(blocks),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.watching_cost", description=__doc__)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--subject")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, help="pixels; the model's own by default")
    parser.add_argument("--threads", type=int, default=count_cpu_threads())
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a watched window")
    parser.add_argument("--only", choices=("sampler", "profiler"), help="one of the two")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="begin no block of a kind after this"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args()
    workload = Workload(
        model=asked.model,
        prompts=("red apple",),
        num_inference_steps=asked.steps,
        guidance_scale=5.0,
        height=asked.size,
        width=asked.size,
    )
    request = RoundRequest(workload, (workload.image(0),), "sync", asked.threads)
    machine, pool = LiveMachine(), WorkerPool()
    spec = WorkerSpec(resolve_model(asked.model), asked.precision, asked.device, asked.subject)
    try:
        (worker,) = pool.acquire(spec, 1)
        shares: list[float] = []

        def plain() -> float:
            return pool.run_round([request]).duration_s

        def window() -> float:
            plain()  # leads in: the pause before it, which starting a sampler takes, cools caches
            return sum(plain() for _ in range(asked.rounds))

        def watched() -> float:
            with machine.watch() as sampler:
                duration_s = window()
            share = sampler.stop(images=asked.rounds + 1).watching_share
            shares.append(share or 0.0)
            return duration_s

        def profiled() -> float:
            return pool.profile(request).total_s

        for _ in range(2):
            window(), watched(), profiled()
        shares.clear()
        kinds = {"sampler": (window, watched), "profiler": (plain, profiled)}
        costs = [
            compute_cost(kind, _measure_blocks(*arms, asked.blocks, asked.seconds))
            for kind, arms in kinds.items()
            if asked.only in (None, kind)
        ]
        device = worker.report.device
        environment = collect_environment(
            device_kind=device.kind, device_name=device.name, gpu_cores=device.gpu_cores
        )
    finally:
        pool.close()
        machine.close()
    cpu_share = statistics.median(shares) if shares else None
    for cost in costs:
        print(
            f"{cost.watching}: {cost.plain_median_s:.4f} s plain, {cost.watched_median_s:.4f} s "
            f"watched; blocks x {cost.median_block_ratio:.4f} "
            f"[{cost.lower:.4f}, {cost.upper:.4f}] ({100 * cost.coverage:.0f} %), "
            f"medians x {cost.ratio_of_medians:.4f}, {cost.blocks} blocks"
        )
    if cpu_share is not None:
        print(f"sampling thread: {100 * cpu_share:.2f} % of one core (median)")
    if asked.json is not None:
        asked.json.write_text(
            json.dumps(
                {
                    "fingerprint": environment.fingerprint(),
                    "workload": asdict(workload),
                    "precision": asked.precision,
                    "threads": asked.threads,
                    "interval_s": DEFAULT_INTERVAL_S,
                    "rounds_per_window": asked.rounds,
                    "costs": [asdict(cost) for cost in costs],
                    "sampling_thread_share_of_a_core": cpu_share,
                },
                indent=1,
            )
            + "\n",
            encoding="utf-8",
        )


def _measure_blocks(
    plain: Callable[[], float], watched: Callable[[], float], blocks: int, limit_s: float
) -> list[tuple[str, list[float]]]:
    measured: list[tuple[str, list[float]]] = []
    stop_s = monotonic_clock() + limit_s
    while len(measured) < blocks and monotonic_clock() < stop_s:
        order = choose_block_order(len(measured))
        measured.append((order, [watched() if arm == "B" else plain() for arm in order]))
    return measured


if __name__ == "__main__":
    main()
