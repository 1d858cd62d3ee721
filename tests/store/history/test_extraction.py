import contextlib
import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.record.guard import Guard
from sdperf.record.measurement import GuardLog
from sdperf.store.history.extraction import extract_run, inflate, read_kept_run
from sdperf.store.history.figures import extract_figures
from sdperf.store.runs import ACCEPTED_KEY, SavedCase, parse_case
from tests.support.full_record import full_measurement
from tests.support.measurements import image, measurement, scores
from tests.support.saved_history import ACCEPTANCE, FULL, make_run

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([1e308, -1, 2**70, "PASS", "\x00", "\ud800", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=10,
)
common = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)


def extract(measured, outcome=None):
    return extract_figures(SavedCase("test_a", measured), {}, outcome)


def test_figures_are_those_of_the_measurement():
    full = full_measurement()
    found = extract(full, "PASS")
    assert found.seconds_per_image == full.seconds_per_image
    assert found.gpu_energy_per_image_j == full.resources.gpu_board_energy_per_image_j
    assert found.peak_rss_bytes == full.memory.peak_rss_bytes
    assert found.peak_device_bytes == full.memory.peak_device_bytes
    assert (found.first_call_s, found.load_s) == (full.first_call_s, full.load_s)
    assert found.entropy_bits == full.images[0].entropy_bits
    assert found.rounds == len(full.rounds_s)
    assert found.excluded_rounds == len(full.guards.excluded)
    assert found.outcome == "PASS"


def test_scores_are_the_lowest_against_what_never_moves():
    measured = measurement(
        images=(
            image(scores=(scores("baseline", 0.1, 0.1), scores("reference", 0.98, 0.9))),
            image(scores=(scores("reference", 0.99, 0.8),), entropy_bits=3.0),
        )
    )
    found = extract(measured)
    assert (found.ssim, found.worst_tile_ssim, found.entropy_bits) == (0.98, 0.8, 3.0)


def test_several_images_a_round_divide_its_seconds():
    measured = measurement(images_per_round=4, rounds_s=(4.0, 8.0, 12.0))
    found = extract(measured)
    assert found.seconds_per_image == measured.seconds_per_image == 2.0


def guard(name, state):
    return Guard(name, state, "x", "it rose")


@pytest.mark.parametrize(
    ("guards", "disturbance"),
    [
        ({"before": (guard("load", "warn"),)}, None),
        ({"before": (guard("power source", "fail"),)}, "power source: x"),
        ({"after": (guard("thermal level", "fail"),)}, "thermal level: x"),
        ({"during": (guard("steal", "warn"),)}, None),
        ({"during": (guard("thermal level", "warn"),)}, "thermal level: it rose"),
    ],
)
def test_what_speaks_against_a_run_is_named(guards, disturbance):
    log = GuardLog("warn", **guards)
    assert extract(measurement(guards=log)).disturbance == disturbance


@pytest.mark.parametrize(
    ("record", "stats", "unusable"),
    [
        ({}, {}, "it holds no durations"),
        ({}, {"median": float("nan")}, "it holds no durations"),
        ({}, {"data": [1.0, -1.0]}, "its rounds are no durations"),
        ({}, {"data": [True]}, "its rounds are no durations"),
        ({}, {"data": []}, "its rounds are no durations"),
        ({"format_version": 2}, {"data": [1.0]}, "the record was written by another sdperf; got: "),
        ({"format_version": 1}, {"data": [1.0]}, "Measurement.kind is missing"),
    ],
)
def test_figures_that_cannot_be_used_say_why(record, stats, unusable):
    saved = {"stats": stats} | ({"extra_info": {"sdperf": record}} if record else {})
    found = extract_figures(parse_case("test_a", saved), stats, None)
    assert found.unusable.startswith(unusable)
    assert found.seconds_per_image is None


@pytest.mark.parametrize(
    ("changes", "unusable"),
    [
        ({"rounds_s": (1e10,)}, "its rounds are no durations"),
        ({"images_per_round": 2**70}, "images_per_round is no number of images"),
    ],
)
def test_a_record_beyond_what_a_database_holds_has_no_seconds(changes, unusable):
    found = extract(measurement(**changes))
    assert (found.unusable, found.seconds_per_image) == (unusable, None)


def test_a_foreign_suite_counts_by_its_median():
    document = {
        "machine_info": {"system": "Linux", "machine": "x86_64", "cpu": {"brand_raw": "AMD EPYC"}},
        "benchmarks": [{"fullname": "test_a", "stats": {"median": 0.5, "rounds": 7}}],
        "datetime": "2026-11-23T00:00:00",
    }
    run = extract_run(document, "x.json")
    (case,) = run.cases
    assert (case.figures.seconds_per_image, case.figures.rounds) == (0.5, 7)
    assert case.place.machine.startswith("cpu--amd-epyc")
    assert run.measured_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert (run.commit_id, run.branch) == (None, None)


def test_a_case_without_a_measurement_keeps_its_outcome():
    run = extract_run(make_run(outcomes={FULL: "PASS", "test_dead": "BROKEN"}), "x")
    dead = run.cases[-1]
    assert (dead.name, dead.place, dead.figures.outcome) == ("test_dead", None, "BROKEN")


def test_void_and_interrupted_runs_say_so():
    run = extract_run(make_run(void="the same code differed", interrupted=True), "x")
    assert (run.void, run.is_interrupted) == ("the same code differed", True)


def test_layout_and_acceptance_do_not_change_the_hash(tmp_path):
    document = make_run()
    accepted = document | {ACCEPTED_KEY: ACCEPTANCE}
    (tmp_path / "a.json").write_text(json.dumps(document, indent=4))
    (tmp_path / "b.json").write_text(json.dumps(accepted, sort_keys=True))
    one, two = read_kept_run(tmp_path / "a.json"), read_kept_run(tmp_path / "b.json")
    assert one.content_sha256 == two.content_sha256
    assert (one.is_accepted, two.is_accepted) == (False, True)
    other = copy.deepcopy(document)
    other["benchmarks"][0]["stats"]["data"][0] += 1e-9
    assert extract_run(other, "x").content_sha256 != one.content_sha256


def test_the_whole_run_comes_back():
    document = make_run()
    assert inflate(extract_run(document, "x").content) == document
    with pytest.raises(RecordError, match="damaged"):
        inflate(b"nonsense")


def test_where_the_model_lies_does_not_part_series_but_steps_do():
    def setup(**workload):
        document = make_run()
        document["benchmarks"][0]["extra_info"]["sdperf"]["workload"].update(workload)
        return extract_run(document, "x").cases[0].setup

    assert setup(model="/a/sd15") == setup(model="/b/c/sd15/")
    assert setup(model="/a/sd15") != setup(model="/a/sdxl")
    assert setup(num_inference_steps=20) != setup(num_inference_steps=30)


def test_records_of_before_there_were_engines_and_threads_go_on_and_other_ones_part():
    def setup(**variant):
        document = make_run()
        kept = document["benchmarks"][0]["extra_info"]["sdperf"]["variant"]
        for name in ("engine", "threads"):
            kept.pop(name, None)
        kept.update(variant)
        return extract_run(document, "x").cases[0].setup

    assert setup(engine="torch") == setup() == setup(threads=None)
    assert setup(engine="onnx") != setup()
    assert setup(threads=2) != setup()


def test_the_machine_outlives_an_update_and_the_environment_does_not():
    def place(torch):
        document = make_run()
        record = document["benchmarks"][0]["extra_info"]["sdperf"]
        record["environment"]["packages"]["torch"] = torch
        record["environment"]["commit"] = torch
        return extract_run(document, "x").cases[0].place

    old, new = place("2.12.0"), place("2.13.0")
    assert old.machine == new.machine
    assert old.fingerprint != new.fingerprint
    assert old.sha256 != new.sha256
    assert "commit" not in json.loads(old.document)


def test_a_file_name_that_is_no_utf8_is_kept_escaped():
    document = {
        "datetime": "2026-01-02T03:04:05+00:00",
        "benchmarks": [{"fullname": "test_\udcfe.py::test_a"}],
    }
    run = extract_run(document, "folder \udcff")
    assert [case.name for case in run.cases] == [r"test_\udcfe.py::test_a"]
    assert run.source == r"folder \udcff"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmarks": None}, "no pytest-benchmark run"),
        ({"benchmarks": [1]}, "benchmark 1 cannot be read"),
        ({"benchmarks": [{"fullname": "a" * 1001}]}, "name cannot be kept"),
        ({"benchmarks": [{"fullname": "a\x00b"}]}, "name cannot be kept"),
        ({"benchmarks": [{"fullname": "a\x1b[31m"}]}, "name cannot be kept"),
        ({"benchmarks": [{"fullname": "a"}, {"fullname": "a"}]}, "a case twice"),
        ({"benchmarks": [{"fullname": "a", "stats": {"max": float("inf")}}]}, "cannot be kept"),
        ({"datetime": None}, "does not say when"),
        ({"datetime": "yesterday"}, "does not say when"),
        ({"datetime": "0001-01-01"}, "does not say when"),
    ],
)
def test_what_is_no_run_is_named(change, message):
    with pytest.raises(RecordError, match=message):
        extract_run(make_run(extra=change), "odd.json")


@given(st.data())
@common
def test_a_run_damaged_anywhere_is_kept_or_refused_by_name(data):
    document = make_run(outcomes={FULL: "PASS", "other": "BROKEN"})
    node = document
    while isinstance(node, dict | list) and node:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(json_values)
            break
        node = node[key]
    with contextlib.suppress(RecordError):
        run = extract_run(document, "odd.json")
        for case in run.cases:
            value = case.figures.seconds_per_image
            assert value is None or 0 < value < 1e10
            assert case.name.isprintable()
