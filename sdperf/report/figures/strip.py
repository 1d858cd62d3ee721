"""The session as a strip: every round beside its case's median, excluded ones, and the guards."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import JudgedMachine, ReportedCase
from sdperf.record.guard import GuardState
from sdperf.record.measurement import ExcludedRound, GuardLog
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.units import format_quantity, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORST_FIRST: Final[tuple[GuardState, ...]] = ("fail", "warn", "unknown", "ok")
_GUARD_ROLES: Final = {"fail": "fail", "warn": "amber", "unknown": "rule", "ok": "blue-soft"}
_GUARD_SIGNS: Final = {"fail": "✕", "warn": "!", "unknown": "?", "ok": ""}


def draw_strip(machine: JudgedMachine) -> Drawn | None:
    """Draw all rounds of a session in order, with what the guards said meanwhile.

    ``None`` where no case was timed.
    """
    cases = [case for case in machine.cases if case.rounds_s]
    if not cases:
        return None
    lanes = _list_lanes(cases)
    hints: dict[str, str] = {}
    with figure_style():
        figure, axes = new_figure(
            2, 1, 2.6 + 0.2 * len(lanes), sharex=True, height_ratios=[9, max(len(lanes), 0.1)]
        )
        _draw_rounds(axes[0], cases, hints)
        _draw_lanes(axes[1], cases, lanes, hints)
    excluded = sum(len(_excluded(case)) for case in cases)
    rows = [
        (
            case.short,
            ", ".join(format_seconds(seconds) for seconds in case.rounds_s),
            "; ".join(f"{format_seconds(one.duration_s)}: {one.reason}" for one in _excluded(case))
            or "none",
            _describe_guards(case),
        )
        for case in cases
    ]
    return Drawn(
        name="strip",
        title="Did the machine hold still?",
        caption=(
            "Above: every round, as its distance from its case's median; what lies outside is "
            f"drawn at the border. {_describe_excluded(excluded)}. Below: guards that were "
            "not ok throughout, case by case; unknown is never ok."
        ),
        figure=figure,
        table=Table.of(("case", "rounds", "excluded", "guards"), tuple(rows)),
        hints=hints,
    )


def _describe_excluded(count: int) -> str:
    if not count:
        return "No round was excluded"
    were = "1 round was" if count == 1 else f"{count} rounds were"
    return f"{were} excluded (crosses; the numbers name the reasons)"


def _log(case: ReportedCase) -> GuardLog | None:
    return None if case.measurement is None else case.measurement.guards


def _excluded(case: ReportedCase) -> tuple[ExcludedRound, ...]:
    log = _log(case)
    return () if log is None else log.excluded


def find_guard_states(case: ReportedCase) -> dict[str, GuardState]:
    """Return the worst state of each guard before, during and after a case."""
    states: dict[str, GuardState] = {}
    log = _log(case)
    for guard in () if log is None else (*log.before, *log.during, *log.after):
        known = (guard.state, states.get(guard.name, guard.state))
        states[guard.name] = min(known, key=_WORST_FIRST.index)
    return states


def _describe_guards(case: ReportedCase) -> str:
    bad = [f"{name}: {state}" for name, state in find_guard_states(case).items() if state != "ok"]
    return "; ".join(bad) or ("ok" if find_guard_states(case) else "not asked")


def _list_lanes(cases: Sequence[ReportedCase]) -> list[str]:
    states = [find_guard_states(case) for case in cases]
    names = dict.fromkeys(name for each in states for name in each)
    return [name for name in names if any(each.get(name, "ok") != "ok" for each in states)]


def _draw_rounds(ax: Axes, cases: Sequence[ReportedCase], hints: dict[str, str]) -> None:
    spread = 0.0
    for position, case in enumerate(cases):
        excluded = _excluded(case)
        median = statistics.median(case.rounds_s)
        total = len(case.rounds_s) + len(excluded)
        places = [position + (index + 0.5) / total for index in range(total)]
        distances = [100 * (seconds / median - 1) for seconds in case.rounds_s]
        spread = max(spread, *(abs(each) for each in distances))
        gid = f"rounds-{position}"
        hints[gid] = (
            f"{case.short}: median {format_seconds(median)}, "
            f"{format_quantity(len(case.rounds_s), 'round')}"
        )
        count = len(distances)
        ax.plot(places[:count], distances, "o", ms=2.8, color=light("blue"), gid=gid)
        for number, (place, one) in enumerate(zip(places[count:], excluded, strict=True)):
            gid = f"excluded-{position}-{number}"
            hints[gid] = f"{case.short}, excluded: {one.reason}"
            distance = 100 * (one.duration_s / median - 1)
            ax.plot(place, min(distance, 50.0), "X", ms=6, color=light("fail"), gid=gid)
            spread = max(spread, abs(distance))
        if position:
            ax.axvline(position, color=light("faint"), linewidth=0.8)
    limit = min(max(spread * 1.15, 3.0), 55.0)
    ax.set_ylim(-limit, limit)
    ax.set_xlim(0, len(cases))
    ax.axhline(0, color=light("rule"), linewidth=0.8)
    ax.set_ylabel("% from the median")
    ax.spines["bottom"].set_visible(False)
    ax.tick_params(axis="x", length=0)
    _name_groups(ax, cases)


def _name_groups(ax: Axes, cases: Sequence[ReportedCase]) -> None:
    """Write over the strip which kind and precision a stretch of cases belongs to."""
    names = [
        case.short if case.measurement is None
        else f"{case.measurement.variant.precision}\n{case.measurement.kind}"
        for case in cases
    ]  # fmt: skip
    start = 0
    for index in range(1, len(names) + 1):
        if index == len(names) or names[index] != names[start]:
            if index - start >= math.ceil(len(names) / 16):
                ax.text(
                    (start + index) / 2,
                    1.02,
                    names[start],
                    transform=ax.get_xaxis_transform(),
                    ha="center",
                    va="bottom",
                    fontsize=7,
                    color=light("dim"),
                )
            ax.axvline(index, color=light("rule"), linewidth=0.8)
            start = index


def _draw_lanes(
    ax: Axes, cases: Sequence[ReportedCase], lanes: Sequence[str], hints: dict[str, str]
) -> None:
    for row, name in enumerate(lanes):
        for position, case in enumerate(cases):
            state = find_guard_states(case).get(name)
            if state is None:
                continue
            gid = f"guard-{row}-{position}"
            hints[gid] = f"{name}, {case.short}: {state}"
            (bar,) = ax.barh(
                row, 0.92, left=position + 0.04, height=0.8, color=light(_GUARD_ROLES[state]),
                linewidth=0,
            )  # fmt: skip
            bar.set_gid(gid)
            if len(cases) <= 40:
                ax.text(
                    position + 0.5,
                    row,
                    _GUARD_SIGNS[state],
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color=light("paper" if state in ("fail", "warn") else "dim"),
                )
    ax.set_yticks(range(len(lanes)), list(lanes))
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.set_xticks([])
    ax.set_xlabel("cases in the order in which they ran")
    for spine in ax.spines.values():
        spine.set_visible(False)
