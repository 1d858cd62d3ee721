"""Figures of a study: the front of seconds and likeness, what decides, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sdperf.record.workload import TORCH
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.report.text.tune import describe_tried
from sdperf.tune.study.front import Point
from sdperf.tune.study.trials import TrialRecord
from sdperf.tune.summary import StudySummary
from sdperf.units import UNKNOWN, format_score, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_IMPORTANCES: Final = 10
_ENDING_ROLES: Final = {"complete": "blue", "pruned": "grey", "infeasible": "fail"}


def draw_front(summary: StudySummary) -> tuple[Drawn, dict[int, tuple[float, float]]] | None:
    """Draw every measured setting, the front, the default and the winner.

    Returns:
        The figure, and where each trial of the front and the default stands on it: shares of its
        width and height from the top left, for pictures over it. ``None`` without a measurement.
    """
    measured = [(one, found) for one in summary.trials if (found := _place(one)) is not None]
    if not measured:
        return None
    hints = {
        f"trial-{one.number}": f"trial {one.number}: {_describe(one, summary)}"
        for one, _ in measured
    }
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 3.6)
        front = [found for one, found in measured if one.number in summary.front]
        front.sort(key=lambda point: point.seconds)
        ax.step(
            [point.seconds for point in front],
            [point.ssim for point in front],
            where="post",
            color=light("blue-soft"),
            lw=1.4,
        )
        for one, point in measured:
            _draw_trial(ax, one, point, summary)
        floor = summary.question.winning_ssim
        if floor > min(point.ssim for _, point in measured):
            ax.axhline(floor, color=light("amber"), lw=1, ls=(0, (4, 3)))
            ax.annotate(
                f"floor {floor:g}",
                (1, floor),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=7.5,
                color=light("amber"),
            )
        ax.set_xscale("log")
        ax.set_xlabel("seconds per image (logarithmic; left is faster)")
        ax.set_ylabel("SSIM of the worst image")
        figure.canvas.draw()
        size = figure.get_size_inches() * figure.dpi
        places = {}
        for one, point in measured:
            if one.number in summary.front or one.setting == summary.question.default:
                x, y = ax.transData.transform((point.seconds, point.ssim))
                places[one.number] = (float(x / size[0]), float(1 - y / size[1]))
    squares = "" if all(_is_on_torch(one) for one, _ in measured) else "; square: another engine"
    drawn = Drawn(
        name="front",
        title="Seconds against likeness",
        caption=(
            "Each dot a setting that was measured in full; blue: nobody is faster and likelier; "
            f"ring: the default; diamond: the winner{squares}. Likeness is held to the images at "
            "full steps in fp32 and does not say which picture is better. Hover or focus a dot of "
            "the front to see its first image. Seconds are medians of few rounds, which is why a "
            "winner is measured again."
        ),
        figure=figure,
        table=Table.of(
            ("trial", "s/image", "SSIM", "worst tile", "setting"),
            tuple(
                (
                    str(one.number),
                    format_seconds(point.seconds),
                    format_score(point.ssim),
                    _tile(one),
                    UNKNOWN
                    if one.setting is None
                    else one.setting.describe(summary.question.default),
                )
                for one, point in sorted(measured, key=lambda pair: pair[1].seconds)
            ),
        ),
        hints=hints,
    )
    return drawn, places


def draw_importances(summary: StudySummary) -> Drawn | None:
    """Draw what decides seconds and likeness; ``None`` with too few trials to tell."""
    if not summary.importances:
        return None
    names = _rank_dimensions(summary)[:_MOST_IMPORTANCES][::-1]
    with figure_style():
        figure, axes = new_figure(1, 2, 0.9 + 0.24 * len(names), sharey=True)
        for ax, (what, role) in zip(axes, (("seconds", "blue"), ("ssim", "teal")), strict=True):
            shares = summary.importances.get(what, {})
            ax.barh(
                range(len(names)),
                [100 * shares.get(name, 0.0) for name in names],
                color=light(role),
                height=0.62,
            )
            ax.set_title("seconds" if what == "seconds" else "likeness", pad=6)
            ax.set_xlabel("share of what decides, %")
        axes[0].set_yticks(range(len(names)), names)
    return Drawn(
        name="importances",
        title="What decides",
        caption=(
            "Share of each dimension in what tells good trials from others (PED-ANOVA). From the "
            "trials that were measured in full; of fifty trials only the large shares are to be "
            "believed."
        ),
        figure=figure,
        table=Table.of(
            ("dimension", "seconds", "SSIM"),
            tuple(
                (
                    name,
                    *(
                        f"{summary.importances.get(what, {}).get(name, 0.0):.1%}"
                        for what in ("seconds", "ssim")
                    ),
                )
                for name in reversed(names)
            ),
        ),
    )


def draw_history(summary: StudySummary) -> Drawn | None:
    """Draw each trial's seconds in order, with the best so far; ``None`` without a trial."""
    ended = [one for one in summary.trials if one.tried is not None]
    if not ended:
        return None
    hints = {
        f"history-{one.number}": f"trial {one.number}: {_describe(one, summary)}" for one in ended
    }
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 2.6)
        for one in ended:
            seconds = None if one.tried is None else one.tried.seconds
            known = seconds is not None
            ax.plot(
                one.number,
                0.02 if seconds is None else seconds,
                transform=ax.transData if known else ax.get_xaxis_transform(),
                marker="o" if known else "x",
                ms=4,
                color=light(_ENDING_ROLES[one.ending]),
                gid=f"history-{one.number}",
                clip_on=False,
            )
        best = _trace_best(ended, summary)
        if best:
            ax.step(
                [*(number for number, _ in best), ended[-1].number],
                [*(seconds for _, seconds in best), best[-1][1]],
                where="post",
                color=light("teal"),
            )
        ax.set_yscale("log")
        ax.set_xlabel("trial")
        ax.set_ylabel("seconds per image")
    return Drawn(
        name="history",
        title="How the search went",
        caption=(
            "Blue: measured in full; grey: given up as hopeless; red: no usable image. Crosses at "
            "the bottom were given up or failed before they were timed. The line is the fastest "
            "setting so far that keeps every limit and the winner's floor."
        ),
        figure=figure,
        table=Table.of(
            ("trial", "what became of it", "setting"),
            tuple(
                (
                    str(one.number),
                    one.ending if one.tried is None else describe_tried(one.tried),
                    UNKNOWN
                    if one.setting is None
                    else one.setting.describe(summary.question.default),
                )
                for one in ended
            ),
        ),
        hints=hints,
    )


def _draw_trial(ax: Axes, one: TrialRecord, point: Point, summary: StudySummary) -> None:
    is_front, is_winner = one.number in summary.front, one.number == summary.winner
    is_default = one.setting == summary.question.default
    role = "teal" if is_winner else "blue" if is_front else "grey"
    ax.plot(
        point.seconds,
        point.ssim,
        marker="D" if is_winner else "o" if _is_on_torch(one) else "s",
        ms=7 if is_winner or is_default else 5 if is_front else 3.5,
        mfc="none" if is_default else light(role),
        mec=light("ink") if is_default else light(role),
        mew=1.4,
        ls="none",
        gid=f"trial-{one.number}",
        zorder=3 if is_front or is_default else 2,
    )


def _is_on_torch(one: TrialRecord) -> bool:
    return one.setting is None or one.setting.engine == TORCH


def _place(one: TrialRecord) -> Point | None:
    tried = one.tried
    if tried is None or tried.state != "complete":
        return None
    if tried.seconds is None or tried.fidelity is None:
        return None
    return Point(tried.seconds, tried.fidelity.ssim)


def _trace_best(ended: Sequence[TrialRecord], summary: StudySummary) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for one in ended:
        point = None if one.tried is None else one.tried.point
        if point is None or point.ssim < summary.question.winning_ssim:
            continue
        if not best or point.seconds < best[-1][1]:
            best.append((one.number, point.seconds))
    return best


def _rank_dimensions(summary: StudySummary) -> list[str]:
    largest: dict[str, float] = {}
    for shares in summary.importances.values():
        for name, share in shares.items():
            largest[name] = max(share, largest.get(name, 0.0))
    return sorted(largest, key=lambda name: -largest[name])


def _describe(one: TrialRecord, summary: StudySummary) -> str:
    told = one.ending if one.tried is None else describe_tried(one.tried)
    if one.setting is None:
        return told
    return f"{told}: {one.setting.describe(summary.question.default)}"


def _tile(one: TrialRecord) -> str:
    fidelity = None if one.tried is None else one.tried.fidelity
    return format_score(None if fidelity is None else fidelity.worst_tile_ssim)
