import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.store.runs import read_run
from tests.support.saved_runs import CASE, write_run

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["benchmarks", "sdperf", "fullname", "stats", "extra_info", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
common = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)


def test_a_saved_run_is_read_whole(tmp_path):
    run = read_run(write_run(tmp_path))
    assert run.summary.outcomes == {CASE: "PASS"}
    assert run.cases[CASE].unusable is None
    assert run.cases[CASE].measurement.rounds_s == (1.0, 1.1, 0.9)


@given(json_values)
@common
def test_arbitrary_json_is_read_or_refused_by_name(tmp_path, value):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(value))
    with contextlib.suppress(RecordError):
        read_run(path)


@given(st.binary(max_size=60))
@common
def test_arbitrary_bytes_are_refused(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"any\.json"):
        read_run(path)


@given(st.data())
@common
def test_a_run_damaged_anywhere_never_raises_anything_else(tmp_path, data):
    document = json.loads(write_run(tmp_path).read_text())
    node = document
    while isinstance(node, dict | list) and node:
        key = data.draw(
            st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node)))
        )
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            node[key] = data.draw(json_values)
            break
        node = node[key]
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(document))
    with contextlib.suppress(RecordError):
        cases = read_run(path).cases.values()
        assert all(case.measurement is not None or case.unusable is not None for case in cases)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or damaged"),
        (b"\xff\xfe", "truncated or damaged"),
        (b"[" * 100_000, "truncated or damaged"),
        (b'{"benchmarks": NaN}', "NaN is no number"),
        (b"[]", "no pytest-benchmark run"),
        (b'{"benchmarks": {}}', "expected: a list of at most"),
        (b'{"benchmarks": [1]}', "benchmark 1 cannot be read"),
        (b'{"benchmarks": [], "sdperf": 3}', "cannot be used"),
        (b'{"benchmarks": [], "sdperf": {"outcomes": {}, "format_version": 9}}', "another sdperf"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=message):
        read_run(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"absent\.json cannot be read.*do: name a file"):
        read_run(tmp_path / "absent.json")


def test_a_truncated_run_is_named_at_every_length(tmp_path):
    content = write_run(tmp_path).read_bytes()
    for length in range(0, len(content) - 1, 97):
        (tmp_path / "cut.json").write_bytes(content[:length])
        with pytest.raises(RecordError):
            read_run(tmp_path / "cut.json")


def change(path, edit):
    document = json.loads(path.read_text())
    edit(document["benchmarks"][0])
    path.write_text(json.dumps(document))
    return read_run(path).cases[CASE].unusable


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda one: one["extra_info"].clear(), "no sdperf record"),
        (lambda one: one.update(extra_info=None), "no sdperf record"),
        (lambda one: one.update(stats=None), "no stats"),
        (lambda one: one["stats"].update(data=[1.0]), "not the rounds of its record"),
        (lambda one: one["extra_info"]["sdperf"].update(rounds_s=[0.0]), "more than zero"),
        (lambda one: one["extra_info"]["sdperf"].update(format_version=99), "another sdperf"),
    ],
)
def test_a_case_that_cannot_be_used_says_why(tmp_path, edit, message):
    assert message in change(write_run(tmp_path), edit)


def test_infinite_stats_are_named(tmp_path):
    path = write_run(tmp_path)
    path.write_text(path.read_text().replace('"max": 1.1', '"max": 1e999'))
    assert read_run(path).cases[CASE].unusable == "its stats hold inf as max"
