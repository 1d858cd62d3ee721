"""``sdperf export``, each format read back.

JUnit: by junitparser, which reads what its `xunit2` flavour allows.

The other two tools have no parser in a package registry. Looked for on 2026-11-23, by their names
and by their authors' scopes: npm and PyPI have neither github-action-benchmark (an action, its
parser is part of it) nor Bencher (a program in Rust); Debian has neither. The registry of Rust
crates was not looked at: CI cannot reach it. So what they read is held against what they say of
it: Bencher publishes a JSON Schema with the reference of its format (version 0), of which the one
below is a stricter form, and github-action-benchmark's reading is written down below from its
README and source (`extract.ts`, `extractRangeInfo.ts`).
"""

import json
import re

import jsonschema
import pytest
from junitparser.xunit2 import JUnitXml

from sdperf.cli import main
from sdperf.cli.runs.export import load_cases
from sdperf.report.export import ExportedCase, Figure, format_github_action_benchmark
from tests.support.measurements import image, measurement, scores
from tests.support.saved_runs import CASE, make_benchmark, make_stats

BENCHER_SCHEMA = {
    # Names of benchmarks, then of measures. Beyond the tool's own schema: their lengths, slugs that
    # need no translation, and no other keys.
    "$schema": "http://json-schema.org/draft-07/schema",
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
            },
            "required": ["value"],
            "additionalProperties": False,
        },
        "propertyNames": {"maxLength": 64, "pattern": "^[a-z-]+$"},
    },
    "propertyNames": {"minLength": 1, "maxLength": 1024},
}
GITHUB_SCHEMA = {
    # What github-action-benchmark's README says of customSmallerIsBetter and its reverse.
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string", "pattern": "^± \\d.[0-9.e+-]*$"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
RANGE = re.compile(r"(?:\+-|±)\s*(\d.+)")
DEAD = "benchmarks/test_latency.py::test_latency[dead]"
SLOW = "benchmarks/test_latency.py::test_latency[<slow> & \x1b]"


@pytest.fixture
def saved(tmp_path):
    measured = measurement(
        images=(image(scores=(scores("reference", 0.97, 0.9),)), image(entropy_bits=4.5))
    )
    slow = make_benchmark(SLOW, measurement(rounds_s=(2.0, 2.0, 2.0)), "SLOWER")
    slow["extra_info"]["sdperf"]["verdict"]["findings"] = [
        {"outcome": "PASS", "gate": "image", "reason": "fine"},
        {"outcome": "SLOWER", "gate": "latency", "reason": "twice as slow\x00"},
    ]
    foreign = {"fullname": "test_other.py::test_sort", "stats": make_stats([0.5, 0.25, 0.75])}
    document = {
        "benchmarks": [make_benchmark(CASE, measured), slow, foreign],
        "datetime": "2026-11-23T00:00:00+00:00",
        "sdperf": {"outcomes": {CASE: "PASS", SLOW: "SLOWER", DEAD: "BROKEN"}},
    }
    path = tmp_path / "run.json"
    path.write_text(json.dumps(document))
    return path


def read_custom(text):
    """Read as github-action-benchmark reads a custom file: five keys an entry, the range a number.

    An empty list is an error there, and a range that is no number after its sign is dropped.
    """
    entries = {}
    for entry in json.loads(text, parse_constant=pytest.fail):
        found = RANGE.search(entry.get("range", ""))
        reach = None if found is None else float(found[1])
        entries[entry["name"]] = (entry["value"], entry["unit"], reach, entry.get("extra"))
    assert entries
    return entries


def export(saved, capsys, *arguments):
    assert main(["export", str(saved), *arguments]) == 0
    return capsys.readouterr().out


def test_bencher_takes_it(saved, capsys):
    document = json.loads(export(saved, capsys, "--format", "bencher"), parse_constant=pytest.fail)
    jsonschema.validate(document, BENCHER_SCHEMA)
    measures = document[CASE]
    assert measures["latency"] == {"value": 1e9, "lower_value": 0.9e9, "upper_value": 1.1e9}
    assert measures["throughput"]["value"] == 1.0
    assert measures["ssim"] == {"value": 0.97}
    assert measures["entropy"] == {"value": 4.5}
    assert document["test_other.py::test_sort"]["latency"]["value"] == 0.5e9
    assert DEAD not in document


def test_github_action_benchmark_takes_both_directions(saved, capsys):
    flags = ("--format", "github-action-benchmark")
    texts = [export(saved, capsys, *flags, "--better", way) for way in ("smaller", "bigger")]
    smaller, bigger = map(read_custom, texts)
    for text, entries in zip(texts, (smaller, bigger), strict=True):
        jsonschema.validate(json.loads(text), GITHUB_SCHEMA)
        assert len(json.loads(text)) == len(entries), "names have to differ"
    assert not smaller.keys() & bigger.keys()
    assert smaller[f"{CASE} latency"][:3] == (1.0, "s/image", pytest.approx(0.1))
    assert bigger[f"{CASE} ssim"][:3] == (0.97, "SSIM", None)
    assert bigger[f"{CASE} entropy"][1] == "bit"
    assert "verdict: SLOWER" in smaller[f"{SLOW} latency"][3]


@pytest.mark.parametrize("reach_s", [0.0, 1e-7, 0.1, 3.0, 12345.678])
def test_every_range_is_one_that_the_tool_reads(reach_s):
    figure = Figure("latency", 1.0, "s/image", "smaller", 1.0 - reach_s, 1.0)
    text = format_github_action_benchmark([ExportedCase("a", (figure,), 1.0, None)], "smaller")
    ((_, _, reach, _),) = read_custom(text).values()
    assert reach == pytest.approx(reach_s, rel=1e-3)


def test_junit_parsers_take_it(saved, capsys, tmp_path):
    path = tmp_path / "report.xml"
    export(saved, capsys, "--format", "junit", "-o", str(path))
    report = JUnitXml.fromfile(str(path))
    (suite,) = report
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 2, 0, 0)
    cases = {case.name: case for case in suite}
    plain = cases["test_latency[fp32-sync-1w]"]
    assert plain.classname == "benchmarks.test_latency"
    assert plain.is_passed
    properties = {one.name: one.value for one in plain.properties()}
    assert float(properties["sdperf.latency_s_per_image"]) == 1.0
    assert float(properties["sdperf.ssim"]) == 0.97
    assert float(properties["sdperf.entropy_bit"]) == 4.5
    assert properties["sdperf.verdict"] == "PASS"
    (failure,) = cases["test_latency[<slow> & ?]"].result
    assert (failure.type, failure.text) == ("SLOWER", "SLOWER: twice as slow?")
    assert cases["test_latency[dead]"].result[0].type == "BROKEN"
    assert cases["test_sort"].is_passed


def test_memory_and_energy_are_exported_where_they_are_known(tmp_path):
    from tests.support.full_record import full_measurement

    path = tmp_path / "run.json"
    path.write_text(json.dumps({"benchmarks": [make_benchmark(CASE, full_measurement())]}))
    ((case,), when) = load_cases(path)
    assert when is None
    found = {figure.measure: (figure.value, figure.unit) for figure in case.figures}
    assert found["memory"] == (1 / 2**20, "MiB")
    assert found["device-memory"] == (1 / 2**20, "MiB")
    assert found["gpu-energy"] == (1.0, "J/image")


def test_what_is_no_run_is_one_message(tmp_path, capsys):
    path = tmp_path / "odd.json"
    path.write_text("[]")
    assert main(["export", str(path), "--format", "junit"]) == 2
    assert "no pytest-benchmark run" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "absent"), "--format", "junit"]) == 2
