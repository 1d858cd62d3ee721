import json

import jsonschema
import pytest
from junitparser.xunit2 import JUnitXml

from sdperf.cli import main
from sdperf.cli.export import load_cases
from tests.measurements import image, measurement, scores
from tests.saved_runs import CASE, make_benchmark, make_stats

BENCHER_SCHEMA = {
    # What Bencher's reference says of its metric format: names of benchmarks, then of measures.
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
            "range": {"type": "string", "pattern": "^± [0-9.e+-]+$"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
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
    smaller = json.loads(export(saved, capsys, *flags))
    bigger = json.loads(export(saved, capsys, *flags, "--better", "bigger"))
    for entries in (smaller, bigger):
        jsonschema.validate(entries, GITHUB_SCHEMA)
        assert len({entry["name"] for entry in entries}) == len(entries)
    found = {entry["name"]: entry for entry in (*smaller, *bigger)}
    latency = found[f"{CASE} latency"]
    assert (latency["value"], latency["unit"], latency["range"]) == (1.0, "s/image", "± 0.1")
    assert found[f"{CASE} ssim"]["value"] == 0.97
    assert found[f"{CASE} entropy"]["unit"] == "bit"
    assert "verdict: SLOWER" in found[f"{SLOW} latency"]["extra"]
    assert not {entry["name"] for entry in smaller} & {entry["name"] for entry in bigger}


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
    from tests.full_record import full_measurement

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
