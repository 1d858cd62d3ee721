"""Sweeps as series of the history, whose x axis is the version. Pure.

Sweeps of one package on one machine that draw the same with the same software beside it and have
one anchor are one series: the newest sweep says what a version came to.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from sdperf.record.json import format_record, parse_record
from sdperf.store.history.sweeps import KeptVersion
from sdperf.sweep.judging import CaseStep
from sdperf.sweep.summary import (
    SweepSummary,
    VersionCurve,
    VersionPoint,
    VersionStep,
    clean_texts,
)

_TEXTS: Final = ("about", "case_name", "machine", "anchor", "version", "reason", "before")
LONGEST_REASON: Final = 1000
"""Characters of a reason that are kept."""


@dataclass(frozen=True)
class SweepSeries:
    """What the history knows of the versions of a package in one case.

    Attributes:
        about: What differs between the versions: a package's name, or ``commits``.
        machine: The machine without its software.
        model: The model, as it was named.
        anchor: The version that all are compared with.
        is_timed: Whether images were timed.
        curve: The versions, oldest first, and the steps between neighbours that were compared.
        begun: When the sweep began that says what a version came to, by its name; UTC, ISO 8601.
    """

    about: str
    machine: str
    model: str
    anchor: str
    is_timed: bool
    curve: VersionCurve
    begun: dict[str, str]


def list_versions(summary: SweepSummary) -> list[KeptVersion]:
    """List what is kept of a sweep: versions that were measured, or cannot be.

    A sweep that is void, or has no anchor, keeps nothing.
    """
    if summary.ending == "void" or summary.anchor is None or summary.environment is None:
        return []
    question = summary.question
    setup = {
        "kind": question.kind,
        "workload": format_record(question.workload),
        "model_hash": summary.model_hash,
        "subject": question.subject,
        "device": question.device,
        "is_timed": question.options.is_timed,
        "companions": list(question.companions),
        "software": {name: one for name, one in question.software.items() if name != "sdperf"},
    }
    machine = summary.environment.machine_name()
    kept = []
    for curve in summary.curves:
        shared: dict[str, Any] = {
            "sweep": question.key(),
            "begun_at": datetime.fromisoformat(summary.started),
            "about": _as_stored(question.about),
            "case_name": _as_stored(curve.case),
            "machine": _as_stored(machine),
            "setup": _as_stored(json.dumps(setup, sort_keys=True)),
            "anchor": _as_stored(summary.anchor),
            "is_timed": question.options.is_timed,
        }
        parts = [shared[key] for key in ("about", "case_name", "machine", "setup", "anchor")]
        shared["series"] = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        steps = {step.after: step for step in curve.steps}
        for position, point in enumerate(curve.points):
            if point.state != "open":
                step = _list_step(steps.get(point.name))
                kept.append(KeptVersion(**shared, **_list_point(position, point), **step))
    return kept


def _list_point(position: int, point: VersionPoint) -> dict[str, Any]:
    figures = point.figures
    return {
        "position": position,
        "version": _as_stored(point.name),
        "state": point.state,
        "reason": _as_stored(point.reason)[:LONGEST_REASON],
        "seconds_per_image": point.seconds_per_image,
        "speed": point.speed,
        "change_log": point.change_log,
        "lower_log": point.lower_log,
        "upper_log": point.upper_log,
        "peak_rss_bytes": figures.peak_rss_bytes,
        "peak_device_bytes": figures.peak_device_bytes,
        "first_call_s": figures.first_call_s,
        "load_s": figures.load_s,
    }


def _list_step(step: VersionStep | None) -> dict[str, Any]:
    if step is None or step.found is None:
        return {}
    found = step.found
    return {
        "before": _as_stored(step.before),
        "step_speed": found.speed,
        "step_change_log": found.change_log,
        "step_lower_log": found.lower_log,
        "step_upper_log": found.upper_log,
        "memory": found.memory,
        "pictures": found.pictures,
        "ssim": found.ssim,
        "worst_tile_ssim": found.worst_tile_ssim,
    }


def _as_stored(text: str) -> str:
    """Replace what a database cannot hold in a text."""
    return text.replace("\x00", "?").encode("utf-8", "replace").decode()


def make_series(rows: Iterable[KeptVersion]) -> list[SweepSeries]:
    """Make the series of what the history holds, by package, case and machine.

    Args:
        rows: As `load_versions` returns them: the oldest sweep first.

    Raises:
        RecordError: A row holds what no sweep says.
    """
    by_series: dict[str, list[KeptVersion]] = {}
    for row in map(_clean, rows):
        by_series.setdefault(row.series, []).append(row)
    found = [_make_one(own) for own in by_series.values()]
    return sorted(found, key=lambda one: (one.about, one.curve.case, one.machine, one.anchor))


def _clean(row: KeptVersion) -> KeptVersion:
    """Return a row whose texts hold nothing that cannot be printed."""
    return replace(row, **clean_texts({name: getattr(row, name) for name in _TEXTS}))


def _make_one(rows: Sequence[KeptVersion]) -> SweepSeries:
    newest: dict[str, KeptVersion] = {}
    compared: dict[tuple[str, str], KeptVersion] = {}
    for row in rows:
        known = newest.get(row.version)
        if known is None or row.state == "measured" or known.state != "measured":
            newest[row.version] = row
        if row.before is not None:
            compared[row.before, row.version] = row
    points = {name: _read_point(newest[name]) for name in order_versions(rows)}
    places = {(row.sweep, row.version): row for row in rows}
    live = [one for one in points.values() if one.state == "measured"]
    steps = [
        _read_step(before.name, after.name, compared.get((before.name, after.name)), places)
        for before, after in itertools.pairwise(live)
    ]
    last = rows[-1]
    return SweepSeries(
        about=last.about,
        machine=last.machine,
        model=_read_model(last.setup),
        anchor=last.anchor,
        is_timed=last.is_timed,
        curve=VersionCurve(last.case_name, tuple(points.values()), tuple(steps)),
        begun={name: newest[name].begun_at.isoformat(timespec="seconds") for name in points},
    )


def order_versions(rows: Sequence[KeptVersion]) -> list[str]:
    """Order the versions of all sweeps of a series, the oldest first.

    Releases are ordered by their numbers. Anything else, such as commits, stands where the first
    sweep that has it shows it: behind the version before it there.
    """
    names = list(dict.fromkeys(row.version for row in rows))
    try:
        return sorted(names, key=Version)
    except InvalidVersion:
        pass
    order: list[str] = []
    for _, sweep in itertools.groupby(rows, key=lambda row: row.sweep):
        own = [row.version for row in sweep]
        place = next((order.index(name) for name in own if name in order), len(order))
        for name in own:
            if name in order:
                place = order.index(name) + 1
            else:
                order.insert(place, name)
                place += 1
    return order


def _read_point(row: KeptVersion) -> VersionPoint:
    return parse_record(
        VersionPoint,
        {
            "step": row.version,
            "name": row.version,
            "state": row.state,
            "reason": row.reason,
            "seconds_per_image": row.seconds_per_image,
            "figures": _read_figures(row),
            "speed": row.speed,
            "change_log": row.change_log,
            "lower_log": row.lower_log,
            "upper_log": row.upper_log,
        },
    )


def _read_figures(row: KeptVersion) -> dict[str, Any]:
    return {
        "seconds_per_image": row.seconds_per_image,
        "peak_rss_bytes": row.peak_rss_bytes,
        "peak_device_bytes": row.peak_device_bytes,
        "load_s": row.load_s,
        "first_call_s": row.first_call_s,
    }


def _read_step(
    before: str,
    after: str,
    row: KeptVersion | None,
    places: Mapping[tuple[str, str], KeptVersion],
) -> VersionStep:
    """Read a step; the log ratio of all its blocks stands for those of each, which are not kept."""
    if row is None:
        return VersionStep(before, after, None, "no sweep compared these two")
    reference = places.get((row.sweep, before))
    document = {
        "case": row.case_name,
        "speed": row.step_speed,
        "change_log": row.step_change_log,
        "lower_log": row.step_lower_log,
        "upper_log": row.step_upper_log,
        "contrasts": [] if row.step_change_log is None else [row.step_change_log],
        "before": {} if reference is None else _read_figures(reference),
        "after": _read_figures(row),
        "memory": row.memory,
        "pictures": row.pictures,
        "ssim": row.ssim,
        "worst_tile_ssim": row.worst_tile_ssim,
    }
    return VersionStep(before, after, parse_record(CaseStep, document))


def _read_model(setup: str) -> str:
    try:
        return str(clean_texts(json.loads(setup)["workload"]["model"]))
    except (ValueError, KeyError, TypeError):
        return "unknown"
