"""From runs to a case's ratio between orders, with its interval. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from evidence.order_effect.runs import Run
from sdperf.stats.distributions import compute_student_t_quantile
from sdperf.stats.summaries import compute_median_interval

DEFAULT: Final = "default"
GOAL: Final = 0.03
"""No case may differ between orders by more than this beyond its interval."""

FEWEST_TURNS: Final = 5
"""With fewer turns the extremes of the ratios cover too little to be called an interval."""

CONFIDENCE: Final = 0.95
"""Of all intervals of a table together: two dozen at 95 % each would have one that misses."""


@dataclass(frozen=True)
class OrderRatio:
    """One case in one order over the same case in the default order.

    Attributes:
        case: Its test id.
        order: The other order.
        default_s: Median over turns of the case's median round per image, in the default order.
        ratio: Median over turns of the ratio of both orders' medians within one turn.
        lower: Lower end of its interval, from order statistics.
        upper: Upper end.
        coverage: Of the interval; few turns cover less.
        together_lower: Lower end of the interval that holds together with those of all other
            ratios of the table: Student's t of the log ratios, Bonferroni's share of the error.
            ``None`` with too few turns.
        together_upper: Upper end.
        turns: How many turns have both.
        default_cores: Median of the cores kept busy in the default order; ``None`` is unknown.
        cores: The same in the other order.
    """

    case: str
    order: str
    default_s: float
    ratio: float
    lower: float
    upper: float
    coverage: float
    turns: int
    default_cores: float | None
    cores: float | None
    together_lower: float | None = None
    together_upper: float | None = None

    @property
    def differs(self) -> bool:
        """Whether all intervals together put this ratio beyond the goal; never of few turns."""
        if self.together_lower is None or self.together_upper is None:
            return False
        return self.together_lower > 1 + GOAL or self.together_upper < 1 / (1 + GOAL)


def compute_ratios(runs: Sequence[Run]) -> list[OrderRatio]:
    """Compute each case's ratio of each order to the default one, paired by turn."""
    seconds: dict[tuple[str, str, int], float] = {}
    cores: dict[tuple[str, str], list[float]] = {}
    names: dict[str, None] = {}
    orders: dict[str, None] = {}
    for run in runs:
        orders.setdefault(run.order)
        for case in run.cases:
            if run.order == DEFAULT:
                names.setdefault(case.case)
            median_s = statistics.median(case.rounds_s) / case.images_per_round
            seconds[case.case, run.order, run.turn] = median_s
            if case.cores_busy is not None:
                cores.setdefault((case.case, run.order), []).append(case.cores_busy)
    turns = sorted({run.turn for run in runs})
    ratios = []
    all_logs = []
    for name in names:
        for order in (one for one in orders if one != DEFAULT):
            logs = [
                math.log(seconds[name, order, turn] / seconds[name, DEFAULT, turn])
                for turn in turns
                if (name, order, turn) in seconds and (name, DEFAULT, turn) in seconds
            ]
            if not logs:
                continue
            all_logs.append(logs)
            interval = compute_median_interval(logs)
            base = [
                value
                for (case, kind, _), value in seconds.items()
                if (case, kind) == (name, DEFAULT)
            ]
            ratios.append(
                OrderRatio(
                    case=name,
                    order=order,
                    default_s=statistics.median(base),
                    ratio=math.exp(statistics.median(logs)),
                    lower=math.exp(interval.lower),
                    upper=math.exp(interval.upper),
                    coverage=interval.coverage,
                    turns=len(logs),
                    default_cores=_median(cores.get((name, DEFAULT))),
                    cores=_median(cores.get((name, order))),
                )
            )
    return _hold_together(ratios, all_logs)


def _hold_together(
    ratios: Sequence[OrderRatio], all_logs: Sequence[Sequence[float]]
) -> list[OrderRatio]:
    """Give each ratio of enough turns its interval among all of them."""
    judged = sum(len(logs) >= FEWEST_TURNS for logs in all_logs)
    found = []
    for ratio, logs in zip(ratios, all_logs, strict=True):
        if len(logs) < FEWEST_TURNS:
            found.append(ratio)
            continue
        times = compute_student_t_quantile(1 - (1 - CONFIDENCE) / 2 / judged, len(logs) - 1)
        reach = times * statistics.stdev(logs) / math.sqrt(len(logs))
        middle = statistics.fmean(logs)
        found.append(
            replace(
                ratio,
                together_lower=math.exp(middle - reach),
                together_upper=math.exp(middle + reach),
            )
        )
    return found


def format_document(runs: Sequence[Run], cpus: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Put together what is written as JSON."""
    return {
        "format_version": 1,
        "cpus": cpus,
        "pytest": list(arguments),
        "environment": runs[0].environment if runs else {},
        "ratios": [asdict(one) | {"differs": one.differs} for one in compute_ratios(runs)],
        "runs": [asdict(run) for run in runs],
    }


def format_table(runs: Sequence[Run], cpus: str, arguments: Sequence[str]) -> str:
    """Lay the ratios out as Markdown."""
    ratios = compute_ratios(runs)
    orders = list(dict.fromkeys(one.order for one in ratios))
    where = runs[0].environment if runs else {}
    device = where.get("device_name") or where.get("chip")
    lines = [
        "# Order effect",
        "",
        f"`pytest {' '.join(arguments)}` on {where.get('device_kind')} ({device}), "
        f"torch {where.get('torch')}, Python {where.get('python')}, processors {cpus}, "
        f"{len(runs)} runs, commit {where.get('commit')}.",
        "",
        "Seconds per image in an order over those in the default order of the same turn: median of "
        "the turns [interval]; cores kept busy in both. **Bold**: beyond "
        f"{GOAL:.0%} by intervals that hold together ({CONFIDENCE:.0%} of tables).",
        "",
        f"| case | default | {' | '.join(orders)} |",
        f"| --- | ---: | {' | '.join('---:' for _ in orders)} |",
    ]
    cells = {(one.case, one.order): one for one in ratios}
    for name in dict.fromkeys(one.case for one in ratios):
        found = [cells.get((name, order)) for order in orders]
        first = next(one for one in found if one is not None)
        shown = name.rpartition("::")[2].removeprefix("test_")
        row = " | ".join("–" if one is None else _format_cell(one) for one in found)
        lines.append(
            f"| {shown} | {first.default_s * 1e3:.4g} ms{_format_cores(first.default_cores)} "
            f"| {row} |"
        )
    differing = [one for one in ratios if one.differs]
    worst = max(ratios, key=lambda one: abs(math.log(one.ratio)), default=None)
    lines += ["", f"{len(differing)} of {len(ratios)} ratios differ beyond their interval."]
    few = sum(one.turns < FEWEST_TURNS for one in ratios)
    if few:
        lines.append(
            f"Nothing is said of {few} of them: fewer than {FEWEST_TURNS} turns are no interval."
        )
    if worst is not None:
        lines.append(f"Largest ratio: {worst.ratio:.3f} ({worst.case}, {worst.order}).")
    return "\n".join([*lines, ""])


def _format_cell(one: OrderRatio) -> str:
    between = f" [{one.lower:.3f}, {one.upper:.3f}]" if one.turns > 1 else ""
    text = f"{one.ratio:.3f}{between}{_format_cores(one.cores)}"
    return f"**{text}**" if one.differs else text


def _format_cores(cores: float | None) -> str:
    return "" if cores is None else f", {cores:.2f} cores"


def _median(values: Sequence[float] | None) -> float | None:
    return statistics.median(values) if values else None
