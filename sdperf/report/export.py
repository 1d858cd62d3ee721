"""A saved run in the formats of other tools: github-action-benchmark, Bencher, JUnit. Pure."""

from __future__ import annotations

import json
import re
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Outcome, describe_other
from sdperf.record.workload import SYNC_REFERENCES
from sdperf.stats.summaries import compute_median_interval
from sdperf.units import format_quantity

Direction = Literal["smaller", "bigger"]

SCORE: Final = "SSIM"
"""Unit of a number without a unit."""

LONGEST_BENCHER_NAME: Final = 1024
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SCORED_AGAINST: Final = ("reference", *SYNC_REFERENCES)


@dataclass(frozen=True)
class Figure:
    """One number of one case.

    Attributes:
        measure: What the number is, in words that also serve as a slug.
        value: The number.
        unit: The unit of the number.
        better: Whether a lower or a higher number is better.
        lower: Lower end of its interval; ``None`` where it has none.
        upper: Upper end of its interval; ``None`` where it has none.
        note: A remark for readers of the number.
    """

    measure: str
    value: float
    unit: str
    better: Direction
    lower: float | None = None
    upper: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ExportedCase:
    """One case.

    Attributes:
        name: Its test id.
        figures: Its numbers; empty where it left none.
        total_s: Seconds of all its rounds.
        outcome: What the run said of it; ``None`` where it did not say.
        reasons: Why the case ended so, one line per reason.
    """

    name: str
    figures: tuple[Figure, ...]
    total_s: float
    outcome: Outcome | None
    reasons: tuple[str, ...] = ()


def list_figures(rounds_s: Sequence[float], measurement: Measurement | None) -> tuple[Figure, ...]:
    """Return the numbers of a case that other tools can keep.

    Args:
        rounds_s: Seconds of its rounds.
        measurement: What sdperf recorded; ``None`` where it recorded nothing.
    """
    images = 1 if measurement is None else measurement.images_per_round
    median_s = statistics.median(rounds_s) / images
    interval = compute_median_interval(rounds_s)
    note = (
        f"median of {format_quantity(len(rounds_s), 'round')}; {interval.coverage:.0%} interval of "
        "this process"
    )
    lower, upper = interval.lower / images, interval.upper / images
    what = "round" if measurement is None else "image"
    figures = [
        Figure("latency", median_s, f"s/{what}", "smaller", lower, upper, note),
        Figure("throughput", 1 / median_s, f"{what}s/s", "bigger", 1 / upper, 1 / lower, note),
    ]
    if measurement is None:
        return tuple(figures)
    memory, resources = measurement.memory, measurement.resources
    for measure, peak in (
        ("memory", memory.peak_rss_bytes),
        ("device-memory", memory.peak_device_bytes),
    ):
        if peak is not None:
            figures.append(Figure(measure, peak / 2**20, "MiB", "smaller", note="peak"))
    if resources is not None:
        energies = (resources.gpu_board_energy_per_image_j, resources.gpu_soc_energy_per_image_j)
        energy = next((one for one in energies if one is not None), None)
        if energy is not None:
            figures.append(Figure("gpu-energy", energy, "J/image", "smaller"))
    return (*figures, *_list_image_figures(measurement))


def _list_image_figures(measurement: Measurement) -> list[Figure]:
    figures = []
    for against in _SCORED_AGAINST:
        scores = [one for image in measurement.images if (one := image.score(against)) is not None]
        if scores:
            note = f"lowest of {len(scores)} images against {describe_other(against)}"
            ssim = min(score.ssim for score in scores)
            tile = min(score.worst_tile_ssim for score in scores)
            figures.append(Figure("ssim", ssim, SCORE, "bigger", note=note))
            figures.append(Figure("worst-tile-ssim", tile, SCORE, "bigger", note=note))
            break
    if measurement.entropy_bits is not None:
        note = "lowest of the images"
        figures.append(Figure("entropy", measurement.entropy_bits, "bit", "bigger", note=note))
    return figures


def format_github_action_benchmark(cases: Sequence[ExportedCase], direction: Direction) -> str:
    """Lay numbers out for github-action-benchmark's ``customSmallerIsBetter`` or its reverse.

    Args:
        cases: The run.
        direction: Which numbers to write; the tool reads one direction from a file.

    Source: the tool's README: a list of objects with name, value, unit, range and extra.
    """
    entries = []
    for case in cases:
        for one in case.figures:
            if one.better != direction:
                continue
            entry: dict[str, Any] = {
                "name": f"{case.name} {one.measure}",
                "unit": one.unit,
                "value": one.value,
            }
            if one.lower is not None and one.upper is not None:
                reach = max(one.upper - one.value, one.value - one.lower)
                entry["range"] = f"± {reach:#.4g}"  # the tool cannot read a single digit
            outcome = "" if case.outcome is None else f"verdict: {case.outcome.value}"
            entry["extra"] = "\n".join(part for part in (one.note, outcome) if part)
            entries.append(entry)
    return json.dumps(entries, indent=1, allow_nan=False)


def format_bencher(cases: Sequence[ExportedCase]) -> str:
    """Lay numbers out in Bencher's metric format.

    Its built-in ``latency`` is in nanoseconds and ``throughput`` in operations a second, which are
    images here; the other measures keep their units.

    Source: the tool's reference, "Bencher Metric Format (BMF)".
    """
    document: dict[str, dict[str, dict[str, float]]] = {}
    for case in cases:
        measures = {}
        for one in case.figures:
            scale = 1e9 if one.measure == "latency" else 1.0
            metric = {"value": one.value * scale}
            if one.lower is not None and one.upper is not None:
                metric |= {"lower_value": one.lower * scale, "upper_value": one.upper * scale}
            measures[one.measure] = metric
        if measures:
            document[case.name[:LONGEST_BENCHER_NAME]] = measures
    return json.dumps(document, indent=1, allow_nan=False)


def format_junit(cases: Sequence[ExportedCase], when: str | None) -> str:
    """Lay a run out as JUnit XML: one test case per case, with its numbers as properties.

    Open answers (no baseline, inconclusive) are properties of cases that did not fail.

    Args:
        cases: The run.
        when: When the run was made, ISO 8601.
    """
    failing = [case for case in cases if case.outcome is not None and case.outcome.is_failure]
    total_s = sum(case.total_s for case in cases)
    suite = ET.Element(
        "testsuite",
        name="sdperf",
        tests=str(len(cases)),
        failures=str(len(failing)),
        errors="0",
        skipped="0",
        time=f"{total_s:.6f}",
    )
    if when is not None:
        suite.set("timestamp", _clean(when))
    for case in cases:
        place, _, name = case.name.rpartition("::")
        classname = place.removesuffix(".py").replace("/", ".").replace("::", ".")
        element = ET.SubElement(
            suite,
            "testcase",
            classname=_clean(classname),
            name=_clean(name),
            time=f"{case.total_s:.6f}",
        )
        properties = ET.SubElement(element, "properties")
        for key, value in list_properties(case.figures, case.outcome).items():
            ET.SubElement(properties, "property", name=key, value=_clean(value))
        if case.outcome is not None and case.outcome.is_failure:
            text = _clean("\n".join(case.reasons) or case.outcome.value)
            failure = ET.SubElement(
                element, "failure", message=text.split("\n")[0][:300], type=case.outcome.value
            )
            failure.text = text
    root = ET.Element("testsuites", name="sdperf")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def list_properties(figures: Sequence[Figure], outcome: Outcome | None = None) -> Mapping[str, str]:
    """Return numbers as names and values for a JUnit report, the unit in the name."""
    properties = {} if outcome is None else {"sdperf.verdict": outcome.value}
    for one in figures:
        unit = "" if one.unit == SCORE else f"_{one.unit.replace('/', '_per_').lower()}"
        properties[f"sdperf.{one.measure.replace('-', '_')}{unit}"] = repr(one.value)
    return properties


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)
