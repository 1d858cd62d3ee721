"""Measure false changes and delays: ``python -m evidence.trend_power``.

Apache Otava takes part where it can be imported. It pins numpy and more, so put it beside:
``pip install --no-deps --target otava apache-otava`` and ``PYTHONPATH=otava``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from evidence.trend_power.noises import NOISES, draw_step
from evidence.trend_power.rivals import SEARCHES
from evidence.trend_power.table import format_page
from sdperf.judging.trend.changes import analyse_series
from sdperf.judging.trend.points import METRICS, TrendPoint
from sdperf.stats.change_points import FEWEST_RUNS, segment_series

LENGTHS = (10, 14, 20, 30, 50, 100, 200)
BEFORE = (15, 30, 100)
CVS_PERCENT = (1, 2, 3)
RISE = 0.05
MOST_AFTER = 30
RIVAL_SERIES = 500
RIVAL_LENGTHS = (20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.trend_power", description=__doc__)
    parser.add_argument("--series", type=int, default=2000, help="series a cell of mere noise")
    parser.add_argument("--steps", type=int, default=300, help="series a cell with a step")
    parser.add_argument("--watched", type=int, default=200, help="series that are watched growing")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    started = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    document: dict[str, Any] = {
        "command": f"python -m evidence.trend_power --series {options.series} --steps "
        f"{options.steps} --watched {options.watched} --seed {options.seed}",
        "numpy": np.__version__,
        "series": options.series,
        "steps": options.steps,
        "watched": options.watched,
        "rival_series": min(options.series, RIVAL_SERIES),
        "false": {},
    }
    for name, draw in NOISES.items():
        document["false"][name] = {
            str(count): count_false(draw, count, options.series, rng) for count in LENGTHS
        }
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    document["watched_growing"] = {
        name: count_watched(NOISES[name], options.watched, rng)
        for name in ("gaussian", "autocorrelation 0.2")
    }
    document["delay"] = {
        str(before): {
            str(cv): measure_delay("sdperf", before, cv / 100, options.steps, rng)
            for cv in CVS_PERCENT
        }
        for before in BEFORE
    }
    document["placing"] = {
        str(cv): measure_placing(cv / 100, options.steps, rng) for cv in CVS_PERCENT
    }
    print(f"steps: {time.perf_counter() - started:.0f} s", flush=True)
    some = min(options.series, RIVAL_SERIES)
    document["rivals"] = {
        rival: {
            "false": {
                name: {
                    str(count): sum(
                        bool(search(0.02 * NOISES[name](count, rng))) for _ in range(some)
                    )
                    for count in RIVAL_LENGTHS
                }
                for name in ("gaussian", "4 % spikes", "heavy tails (t, 3 df)")
            },
            "delay": measure_delay(rival, 30, 0.02, options.steps, rng),
        }
        for rival, search in SEARCHES.items()
    }
    print(f"rivals: {time.perf_counter() - started:.0f} s", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "trend-power.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.out / "trend-power.md").write_text(format_page(document))


def count_false(draw: Any, count: int, series: int, rng: np.random.Generator) -> dict[str, int]:
    """Count series of noise of which ``sdperf trend`` would report a change, and a creep too."""
    changes = reported = 0
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for _ in range(series):
        values = 0.02 * draw(count, rng)
        points = [
            TrendPoint(index, start + timedelta(days=index), f"{index:040x}", math.exp(value), {})
            for index, value in enumerate(values)
        ]
        trend = analyse_series(
            "case", "machine", METRICS["seconds"], points, values.tolist(), len(points)
        )
        changes += bool(trend.changes)
        crept = trend.creep is not None and trend.creep.is_significant
        reported += bool(trend.changes) or crept
    return {"changes": changes, "reported": reported}


def count_watched(draw: Any, series: int, rng: np.random.Generator) -> int:
    """Count series of noise that show a change at any look while they grow from 14 to 100 runs."""
    return sum(
        any(
            segment_series((0.02 * values[:count]).tolist()).changes
            for count in range(FEWEST_RUNS, 101)
        )
        for values in (draw(100, rng) for _ in range(series))
    )


def measure_delay(
    search: str, before: int, cv: float, series: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Measure how many runs of the new level it takes until the step is seen."""
    delays: list[int] = []
    for _ in range(series):
        values = draw_step(before, MOST_AFTER, cv, RISE, rng)
        for after in range(1, MOST_AFTER + 1):
            places = SEARCHES[search](values[: before + after])
            if any(abs(place - before) <= 5 for place in places):
                delays.append(after)
                break
    missed = series - len(delays)
    ordered = [*sorted(delays), *[math.inf] * missed]
    return {
        "median": _finite(ordered[len(ordered) // 2]),
        "p90": _finite(ordered[int(len(ordered) * 0.9)]),
        "missed": missed,
    }


def measure_placing(cv: float, series: int, rng: np.random.Generator) -> dict[str, Any]:
    """Measure how well a step amid 60 runs is placed and sized."""
    found = placed = sized = extra = 0
    widths = []
    for _ in range(series):
        changes = segment_series(draw_step(30, 30, cv, RISE, rng).tolist()).changes
        near = [change for change in changes if abs(change.index - 30) <= 5]
        extra += len(changes) > len(near[:1])
        if near:
            found += 1
            placed += near[0].earliest <= 30 <= near[0].latest
            sized += near[0].lower <= math.log1p(RISE) <= near[0].upper
            widths.append(near[0].latest - near[0].earliest + 1)
    return {
        "found": found,
        "placed": placed,
        "sized": sized,
        "extra": extra,
        "median_width": float(np.median(widths)) if widths else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
