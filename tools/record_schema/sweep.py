"""The schema of what ``sdperf sweep --json`` writes."""

from __future__ import annotations

from typing import Any

from sdperf.sweep.state import SWEEP_FORMAT_VERSION
from sdperf.sweep.summary import KIND, SweepSummary
from tools.record_schema import DRAFT, define


def make_sweep_schema() -> dict[str, Any]:
    """Make the schema; keys that it does not know are refused."""
    definitions: dict[str, Any] = {}
    define(SweepSummary, definitions)
    root = definitions.pop("SweepSummary")
    kind = {"const": KIND, "description": "What the file calls itself."}
    root["properties"] = {"kind": kind, **root["properties"]}
    root["properties"]["format_version"] = {
        "const": SWEEP_FORMAT_VERSION,
        "description": "Version of this JSON.",
    }
    root["required"] = ["kind", *root["required"]]
    return {
        "$schema": DRAFT,
        "title": f"sdperf sweep, format version {SWEEP_FORMAT_VERSION}",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }
