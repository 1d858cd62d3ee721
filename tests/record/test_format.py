"""The record's schema and page agree with the code, and the schema refuses damage."""

import copy
import dataclasses
import inspect
import json
from pathlib import Path

import jsonschema
import pytest

from sdperf.record.json import format_measurement
from sdperf.record.measurement import Measurement
from tests.support.full_record import full_measurement
from tests.support.measurements import measurement
from tools.record_schema import DOCUMENTED, describe_attributes, make_schema

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "format.schema.json").read_text(encoding="utf-8"))
PAGES = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("format.md", "resources.md"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def record(measured):
    return json.loads(json.dumps(format_measurement(measured)))


def test_the_committed_schema_is_the_codes():
    assert make_schema() == SCHEMA, "python -m tools.record_schema > docs/format.schema.json"


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("kind", "field"),
    [(kind, field.name) for kind in DOCUMENTED for field in dataclasses.fields(kind)],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_field_is_explained(kind, field):
    assert f"`{field}`" in PAGES


def test_records_are_valid_however_little_is_known():
    VALIDATOR.validate(record(measurement()))
    VALIDATOR.validate(record(measurement(stages=None)))
    VALIDATOR.validate(record(full_measurement()))


def test_a_full_record_leaves_no_field_unknown():
    def nulls(value, where):
        if value is None:
            yield where
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from nulls(inner, f"{where}.{key}")
        elif isinstance(value, list):
            for inner in value:
                yield from nulls(inner, f"{where}[]")

    assert list(nulls(record(full_measurement()), "record")) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rounds_s",), []),
        (("rounds_s", 0), 0),
        (("rounds_s", 0), "1.0"),
        (("kind",), "speed"),
        (("format_version",), 2),
        (("surprise",), 1),
        (("images", 0, "sha256"), "no hash"),
        (("images", 0, "entropy_bits"), 9),
        (("resources", "tree_rss_bytes", "values"), [0.0] * 201),
        (("resources", "images"), "two"),
        (("stages", "total_s"), None),
        (("limits", "stages", 0, "reading"), "slow"),
        (("guards", "before", 0, "state"), "fine"),
        (("guards", "policy"), "lax"),
    ],
)
def test_damage_is_refused(path, value):
    document = record(full_measurement())
    VALIDATOR.validate(document)
    damaged = inner = copy.deepcopy(document)
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    assert not VALIDATOR.is_valid(damaged)


@pytest.mark.parametrize("key", ["rounds_s", "stages", "guards", "seconds_per_image"])
def test_a_missing_key_is_refused(key):
    document = record(full_measurement())
    del document[key]
    assert not VALIDATOR.is_valid(document)


def test_the_schema_does_not_depend_on_how_python_keeps_docstrings(monkeypatch):
    described = describe_attributes(Measurement)
    monkeypatch.setattr(Measurement, "__doc__", inspect.cleandoc(Measurement.__doc__))  # as 3.13
    assert describe_attributes(Measurement) == described
    assert make_schema() == SCHEMA
