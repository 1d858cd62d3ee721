"""Damages of time and memory, planted in the record of a measured case and judged offline."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from sdperf.judging.session.recorded import RecordedCase, RecordedLimits, judge_recorded
from sdperf.record.measurement import Measurement, Start

ROUNDS: Final = 100
_MIB: Final = 2**20

Plant = Callable[[Measurement], Measurement]


def make_steady(measured: Measurement) -> Measurement:
    """Make a session of a hundred rounds of a measured case, from a fresh process.

    Its rounds differ by 1 %, and its memory moves up and down by 2 MiB.
    """
    middle_s = measured.seconds_per_image
    return dataclasses.replace(
        measured,
        rounds_s=tuple(middle_s * (1 + 0.01 * (number % 2)) for number in range(ROUNDS)),
        rounds_cpu_s=(),
        processes=1,
        load_s=1.0,
        first_call_s=1.0,
        start=Start(is_fresh=True, page_cache="warm"),
        rounds_resident_bytes=tuple(
            380 * _MIB + 2 * _MIB * (number % 3) for number in range(ROUNDS)
        ),
        rounds_device_bytes=(),
    )


def _slow_rounds(factor: float) -> Plant:
    def plant(one: Measurement) -> Measurement:
        rounds_s = tuple(
            seconds * (factor if number % 10 == 9 else 1)
            for number, seconds in enumerate(one.rounds_s)
        )
        return dataclasses.replace(one, rounds_s=rounds_s)

    return plant


def _leak(one: Measurement) -> Measurement:
    grown = tuple(size + number * _MIB for number, size in enumerate(one.rounds_resident_bytes))
    return dataclasses.replace(one, rounds_resident_bytes=grown)


PLANTED: Final[dict[str, Plant]] = {
    "one round in ten 17 times as long": _slow_rounds(17),
    "one round in ten twice as long": _slow_rounds(2),
    "load 12 s instead of 1 s": lambda one: dataclasses.replace(one, load_s=12.0),
    "first call 12 s instead of 1 s": lambda one: dataclasses.replace(one, first_call_s=12.0),
    "1 MiB more memory a picture": _leak,
}
"""Each damage, and how it is planted in a steady session's record."""


def list_failing_gates(measured: Measurement, plant: Plant) -> list[str]:
    """Return the gates that fail for a damage, held against the same session without it."""
    steady = make_steady(measured)
    case = RecordedCase(plant(steady), [steady])
    findings = judge_recorded({"case": case}, RecordedLimits())["case"]
    return [one.gate for one in findings if one.outcome.is_failure]
