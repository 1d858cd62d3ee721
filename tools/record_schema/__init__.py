"""Writes the JSON Schemas of what sdperf writes from the dataclasses that make it.

python -m tools.record_schema > docs/format.schema.json
python -m tools.record_schema mps-check > docs/mps-check.schema.json
python -m tools.record_schema sweep > docs/sweep.schema.json
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sdperf.mps_check.judging import Judgement, MpsFinding, Place
from sdperf.record.environment import Environment
from sdperf.record.imprint import OutputImprint, PictureImprint
from sdperf.record.measurement import (
    ExcludedRound,
    GuardLog,
    ImageRecord,
    ImageScores,
    Measurement,
    MemoryUsage,
)
from sdperf.record.stages import DeviceLimits, PeakRate, StageCost, StageTimes
from sdperf.record.usage import MAX_TIMELINE_POINTS, Curve, ProcessUsage, ResourceUsage
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant, Workload

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NULL: Final = {"type": "null"}
_DERIVED: Final[dict[type, dict[str, dict[str, Any]]]] = {
    Measurement: {
        "seconds_per_image": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Median round over its images.",
        },
        "images_per_second": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Its inverse.",
        },
        "cores_busy": {
            "anyOf": [{"type": "number", "minimum": 0}, _NULL],
            "description": "Processor seconds a second of all workers, the median round.",
        },
        "verdict": {
            "description": "What the gates said when the session ended.",
            "$ref": "#/$defs/Verdict",
        },
    },
    StageTimes: {
        "rest_s": {
            "type": "number",
            "description": "What no stage explains: the whole less all known stages.",
        }
    },
    ResourceUsage: {
        "gpu_board_energy_per_image_j": {
            "anyOf": [{"type": "number", "minimum": 0}, _NULL],
            "description": "Joules of the whole NVIDIA board over the images delivered.",
        },
        "gpu_soc_energy_per_image_j": {
            "anyOf": [{"type": "number", "minimum": 0}, _NULL],
            "description": "Joules of the GPU part of an Apple chip over the images delivered.",
        },
    },
}
"""Keys of the record that are computed from fields, for readers."""

_OPTIONAL: Final = frozenset({"verdict"})
"""Keys that are there only once the session has ended."""

_NARROWED: Final[dict[tuple[type, str], dict[str, Any]]] = {
    (Measurement, "format_version"): {"const": 1},
    (Measurement, "rounds_s"): {
        "minItems": 1,
        "items": {"type": "number", "exclusiveMinimum": 0},
    },
    (Measurement, "images_per_round"): {"minimum": 1},
    (ImageRecord, "entropy_bits"): {"minimum": 0, "maximum": 8},
    (ImageRecord, "sha256"): {"pattern": "^[0-9a-f]{64}$"},
    (ImageScores, "ssim"): {"minimum": -1, "maximum": 1},
    (StageCost, "flop"): {"minimum": 0},
    (PeakRate, "flop_per_s"): {"exclusiveMinimum": 0},
    (Curve, "values"): {"maxItems": MAX_TIMELINE_POINTS},
    (Curve, "times_s"): {"maxItems": MAX_TIMELINE_POINTS},
    (Judgement, "steps"): {"minimum": 1},
    (Judgement, "operators"): {"minimum": 0},
    (Judgement, "distinct"): {"minimum": 0},
    (MpsFinding, "calls"): {"minimum": 1},
    (MpsFinding, "places"): {"minItems": 1},
    (MpsFinding, "sources"): {"minItems": 1},
    (Place, "calls"): {"minimum": 1},
}
"""What the dataclasses promise beyond their types."""

DOCUMENTED: Final = (
    Measurement,
    Workload,
    Variant,
    Environment,
    ImageRecord,
    ImageScores,
    StageTimes,
    MemoryUsage,
    DeviceLimits,
    PeakRate,
    StageCost,
    GuardLog,
    ExcludedRound,
    ResourceUsage,
    Curve,
    ProcessUsage,
    PictureImprint,
    OutputImprint,
)
"""The dataclasses of the record whose fields `docs/format.md` explains."""


def make_schema() -> dict[str, Any]:
    """Make the schema of ``extra_info["sdperf"]``; keys that it does not know are refused."""
    definitions: dict[str, Any] = {"Verdict": _verdict()}
    define(Measurement, definitions)
    root = definitions.pop("Measurement")
    return {
        "$schema": DRAFT,
        "title": "sdperf record, format version 1",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def define(kind: type, definitions: dict[str, Any]) -> None:
    """Add the definition of a dataclass, and of those in its fields, by their names.

    msgspec, which reads the records, says what each field may be; what is written has every field.
    """
    classes = {kind.__name__: kind}
    _, found = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    for name, inner in found.items():
        one = classes[name]
        hints, described = typing.get_type_hints(one), describe_attributes(one)
        classes |= {known.__name__: known for known in _list_dataclasses(tuple(hints.values()))}
        properties: dict[str, Any] = {}
        for key, about in inner["properties"].items():
            text = {"description": described[key]} if key in described else {}
            about.pop("default", None)
            properties[key] = text | about | _NARROWED.get((one, key), {})
        properties |= _DERIVED.get(one, {})
        definitions[name] = {
            "description": read_docstring(one).partition("\n\n")[0].replace("\n", " "),
            "type": "object",
            "properties": properties,
            "required": [key for key in properties if key not in _OPTIONAL],
            "additionalProperties": False,
        }


def _list_dataclasses(kinds: tuple[Any, ...]) -> Iterator[type]:
    for kind in kinds:
        if dataclasses.is_dataclass(kind):
            yield typing.cast("type", kind)
        yield from _list_dataclasses(typing.get_args(kind))


def _verdict() -> dict[str, Any]:
    outcome = {"enum": [each.value for each in Outcome]}
    finding = {
        "outcome": outcome,
        "gate": {"type": "string", "description": "Which judge spoke."},
        "reason": {"type": "string", "description": "What was seen, against what, by how much."},
    }
    return {
        "description": "The worst of all findings is the case's outcome.",
        "type": "object",
        "properties": {
            "outcome": outcome,
            "findings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": finding,
                    "required": list(finding),
                    "additionalProperties": False,
                },
            },
            "base": {
                "type": ["string", "null"],
                "description": "The session whose pictures these were compared with.",
            },
        },
        "required": ["outcome", "findings"],
        "additionalProperties": False,
    }


def read_docstring(kind: type) -> str:
    """Return a docstring without its indentation, which Python 3.13 removes by itself."""
    return inspect.cleandoc(kind.__doc__ or "")


def describe_attributes(kind: type) -> dict[str, str]:
    """Read what a Google-style docstring says of each attribute."""
    text = read_docstring(kind).partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", about).strip() for name, about in found}
