"""The schema of what ``sdperf mps-check --format json`` prints, with or without ``--calls``."""

from __future__ import annotations

from typing import Any, get_args

from sdperf.mps_check.calls import OperatorCall, SeenTensor
from sdperf.mps_check.judging import FORMAT_VERSION, Judgement
from sdperf.record.stages import StageName
from tools.record_schema import DRAFT, define, describe_attributes, read_docstring


def make_mps_check_schema() -> dict[str, Any]:
    """Make the schema; keys that it does not know are refused."""
    definitions: dict[str, Any] = {}
    define(Judgement, definitions)
    root = definitions.pop("Judgement")
    define(SeenTensor, definitions)
    definitions |= {"Argument": _argument(), "OperatorCall": _call()}
    version = {"const": FORMAT_VERSION, "description": "Version of this JSON."}
    calls = {
        "description": "Every recorded call, in the order of their first time; with --calls only.",
        "type": "array",
        "items": {"$ref": "#/$defs/OperatorCall"},
    }
    root["properties"] = {"format_version": version, **root["properties"], "calls": calls}
    root["required"] = ["format_version", *root["required"]]
    return {
        "$schema": DRAFT,
        "title": f"sdperf mps-check, format version {FORMAT_VERSION}",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _argument() -> dict[str, Any]:
    return {
        "description": "A tensor, a plain value, or a list of those; NaN and infinity are strings.",
        "anyOf": [
            {"$ref": "#/$defs/SeenTensor"},
            {"type": ["number", "boolean", "string", "null"]},
            {"type": "array", "items": {"$ref": "#/$defs/Argument"}},
        ],
    }


def _call() -> dict[str, Any]:
    """Describe a call: the arguments are by name there, and how often it was made is added."""
    kinds: dict[str, dict[str, Any]] = {
        "operator": {"type": "string"},
        "arguments": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Argument"}},
        "outputs": {"type": "array", "items": {"$ref": "#/$defs/SeenTensor"}},
        "stage": {"enum": list(get_args(StageName))},
        "module": {"type": "string"},
        "line": {"type": "string"},
        "thread": {"type": "integer", "minimum": 0},
        "module_class": {"type": "string"},
        "is_compiled": {"type": "boolean"},
    }
    described = describe_attributes(OperatorCall)
    properties = {name: {"description": described[name]} | kind for name, kind in kinds.items()}
    properties["times"] = {
        "description": "How often it was made.",
        "type": "integer",
        "minimum": 1,
    }
    return {
        "description": read_docstring(OperatorCall).partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
