"""Compares limits with this machine's calibration, and refuses limits that it cannot support."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.errors import ConfigurationError
from sdperf.judging.support import CaseNoise, explain_unsupported, suggest_limit
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import shorten_case
from sdperf.shell import join_command
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession
    from sdperf.store.calibration import Calibration


def check_typed_limits(live: LiveSession, cases: list[str]) -> None:
    """Refuse limits of the command line and of markers that this machine cannot support.

    It identifies the machine, which takes a separate process, only where there is both a
    calibration and such a limit.

    Args:
        live: The session.
        cases: Test ids that are going to run.

    Raises:
        ConfigurationError: A limit lies below the noise of its case.
        RecordError: A calibration is damaged.
    """
    from sdperf.store.calibration import read_calibrations

    settings = live.settings
    live.asked.calibrations = read_calibrations(settings.calibration)
    typed = settings.max_slowdown if settings.limit_is_typed else None
    limits = {case: live.asked.limits.get(case, typed) for case in cases}
    asked = {case: limit for case, limit in limits.items() if limit is not None}
    if not live.asked.calibrations or not asked:
        return
    known = live.asked.calibrations.get(live.suites.own().environment().fingerprint())
    refused = []
    for case, limit in asked.items():
        listed = None if known is None else known.calibrated.get(case)
        if known is None or listed is None or not listed.is_of(settings.workload):
            continue
        noise = CaseNoise(listed.width, _name_source(live, known))
        reason = explain_unsupported(limit, noise)
        if reason is not None:
            refused.append((noise.width, case, reason, noise))
    if refused:
        _, case, reason, noise = max(refused, key=lambda one: one[:2])
        where = "its marker's" if case in live.asked.limits else "the command line's"
        raise ConfigurationError(
            reason,
            got=f"{where} limit of {case}, the noisiest of {len(refused)} such cases",
            hint=f"use {suggest_limit(noise)}"
            if case not in live.asked.limits
            else "widen the marker, deselect the case, or settle it: "
            + join_command(["sdperf", "ab", "HEAD", ".", "--cases", shorten_case(case)]),
        )


def find_noise(live: LiveSession, measured: Mapping[str, Measurement]) -> dict[str, CaseNoise]:
    """Return the calibrated noise of the session's cases, by test id."""
    found = {}
    for case, measurement in measured.items():
        known = live.asked.calibrations.get(measurement.environment.fingerprint())
        listed = None if known is None else known.calibrated.get(case)
        if (
            known is not None
            and listed is not None
            and listed.is_of(measurement.workload, measurement.images_per_round)
        ):
            found[case] = CaseNoise(listed.width, _name_source(live, known))
    return found


def _name_source(live: LiveSession, known: Calibration) -> str:
    folder: Path = live.settings.calibration
    shown = folder.relative_to(live.root) if folder.is_relative_to(live.root) else folder
    return f"{shown} ({format_quantity(len(known.sessions), 'session')}, {known.measured_at[:10]})"
