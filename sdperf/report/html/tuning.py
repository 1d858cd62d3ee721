"""A study's part of a report's page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.tune import draw_front, draw_history, draw_importances
from sdperf.report.table import Code, Table
from sdperf.report.text.tune import (
    describe_starts,
    describe_study,
    describe_tried,
    describe_winner,
)
from sdperf.tune.summary import StudySummary

if TYPE_CHECKING:
    from sdperf.report.html.plot import Plot

_LARGEST_THUMBNAIL: Final = 60_000
"""The most characters of a picture's base64; a study never writes more."""


@dataclass(frozen=True)
class Peek:
    """A picture that shows over a figure.

    Attributes:
        left: Where it stands from the left, percent of the figure's width.
        top: Where it stands from the top, percent of the figure's height.
        uri: The picture.
        words: What the picture shows, in words.
    """

    left: float
    top: float
    uri: str
    words: str


@dataclass(frozen=True)
class TuningView:
    """A study as the page shows it; a plot is ``None`` where there is too little to draw."""

    ident: str
    headline: str
    about: str
    machine: str
    starts: tuple[str, ...]
    is_won: bool
    front: Plot | None
    peeks: tuple[Peek, ...]
    importances: Plot | None
    history: Plot | None
    confirmations: Table


def view_tuning(
    summary: StudySummary, ident: str, plot: Callable[[Drawn, str], Plot]
) -> TuningView:
    """Lay a study out.

    Args:
        summary: The study.
        ident: Prefix of the ids in the page.
        plot: Renders a figure for the page.
    """
    front = draw_front(summary)
    importances, history = draw_importances(summary), draw_history(summary)
    return TuningView(
        ident=ident,
        headline=describe_winner(summary),
        about=describe_study(summary),
        machine=summary.machine,
        starts=tuple(describe_starts(summary)),
        is_won=summary.winner is not None,
        front=None if front is None else plot(front[0], ident),
        peeks=() if front is None else tuple(_peek(summary, front[1])),
        importances=None if importances is None else plot(importances, ident),
        history=None if history is None else plot(history, ident),
        confirmations=Table.of(
            ("trial", "answer", "times as fast", "setting"),
            (
                (
                    str(one.number),
                    f"{one.judgement}: {one.reason}",
                    "-"
                    if one.speedup is None
                    else "{:.2f} ({:.2f} to {:.2f})".format(*one.speedup),
                    Code(one.setting.describe(summary.question.default)),
                )
                for one in summary.confirmations
            ),
        ),
    )


def _peek(summary: StudySummary, places: dict[int, tuple[float, float]]) -> list[Peek]:
    peeks = []
    for number, (left, top) in places.items():
        trial = summary.find_trial(number)
        tried = trial.tried
        if tried is None or trial.setting is None or not is_picture(tried.thumbnail):
            continue
        words = (
            f"trial {number}: {describe_tried(tried)}; "
            f"{trial.setting.describe(summary.question.default)}"
        )
        uri = f"data:image/webp;base64,{tried.thumbnail}"
        peeks.append(Peek(round(100 * left, 2), round(100 * top, 2), uri, words))
    return peeks


def is_picture(text: str | None) -> bool:
    """Tell whether a text from a file is the base64 of a WebP and nothing else."""
    if text is None or len(text) > _LARGEST_THUMBNAIL:
        return False
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"
