import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError, SdperfError
from sdperf.store import runs
from sdperf.store.runs import parse_run, read_run


def read_session(path):
    return read_run(path, needs_rounds=True)


def benchmark(name="test_a", data=(1.0, 1.1), **more):
    return {"fullname": name, "stats": {"data": list(data)}, "extra_info": {}, **more}


def write(tmp_path, document, name="run.json"):
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_foreign_run_is_read_as_timings(tmp_path):
    machine = {"system": "Darwin", "machine": "arm64", "cpu": {"brand_raw": "Apple M4"}}
    path = write(tmp_path, {"benchmarks": [benchmark()], "machine_info": machine})
    session = read_session(path)
    case = session.cases["test_a"]
    assert case.rounds_s == (1.0, 1.1)
    assert not case.is_ours
    assert case.measurement is None
    assert session.machine == "Darwin arm64 Apple M4"


def test_an_accepted_file_says_so():
    accepted = {
        "reason": "first",
        "accepted_at": "2026-11-23T00:00:00+00:00",
        "commit": None,
        "content_sha256": "0" * 64,
        "level_changed": ["test_a"],
    }
    document = {"benchmarks": [benchmark()], "sdperf_accepted": accepted}
    session = parse_run(Path("run.json"), document)
    assert session.is_accepted
    assert session.level_changed == ("test_a",)
    assert not parse_run(
        Path("run.json"), {"benchmarks": [benchmark()]}, needs_rounds=True
    ).is_accepted
    with pytest.raises(RecordError, match="cannot be used"):
        parse_run(
            Path("run.json"), document | {"sdperf_accepted": {"reason": 3}}, needs_rounds=True
        )


def test_what_the_run_said_of_its_machine_is_read(tmp_path):
    guards = [
        {"name": name, "state": state, "value": None, "sentence": "so", "hint": None}
        for name, state in (("load", "fail"), ("swap", "ok"))
    ]
    own = {"format_version": 1, "outcomes": {}, "void": "unfit", "guards": guards}
    session = read_session(write(tmp_path, {"benchmarks": [benchmark()], "sdperf": own}))
    assert session.failed_guards == ("load",)
    assert session.void == "unfit"
    with pytest.raises(RecordError, match=r"run\.json cannot be used"):
        read_session(write(tmp_path, {"benchmarks": [benchmark()], "sdperf": {"guards": 3}}))


def test_integers_are_durations_too(tmp_path):
    assert read_session(write(tmp_path, {"benchmarks": [benchmark(data=[2])]})).cases[
        "test_a"
    ].rounds_s == (2.0,)


def test_a_damaged_record_of_ours_is_kept_as_unusable(tmp_path):
    damaged = benchmark(extra_info={"sdperf": {"format_version": 1}})
    case = read_session(write(tmp_path, {"benchmarks": [damaged]})).cases["test_a"]
    assert case.is_ours
    assert case.unusable is not None


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "no JSON"),
        ('{"benchmarks": [', "no JSON"),
        ('{"benchmarks": [{"stats": {"data": [NaN]}}]}', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no pytest-benchmark run"),
        ({}, "no pytest-benchmark run"),
        ({"benchmarks": {}}, "no pytest-benchmark run"),
        ({"benchmarks": [3]}, "benchmark 1 cannot be read"),
        ({"benchmarks": [{}]}, "benchmark 1 has no name"),
        ({"benchmarks": [benchmark(name="")]}, "has no name"),
        ({"benchmarks": [{"fullname": "a", "stats": {"mean": 1}}]}, "saved without its rounds"),
        ({"benchmarks": [benchmark(data=[])]}, "saved without its rounds"),
        ({"benchmarks": [benchmark(), benchmark()]}, "holds a case twice"),
        *(
            ({"benchmarks": [benchmark(data=[bad])]}, "no duration")
            for bad in (0, -1, True, None, "1", [], 1e300, 10**400)
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_reason(tmp_path, document, words):
    path = write(tmp_path, document)
    with pytest.raises(RecordError, match=words) as caught:
        read_session(path)
    assert "run.json" in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RecordError, match="cannot be read"):
            read_session(path)


def test_a_file_beyond_bounds_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LARGEST_FILE_BYTES", 10)
    with pytest.raises(RecordError, match="too large"):
        read_session(write(tmp_path, {"benchmarks": [benchmark()]}))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
nearly = st.fixed_dictionaries(
    {},
    optional={
        "benchmarks": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "fullname": st.sampled_from(["a", "b"]) | anything,
                    "stats": st.fixed_dictionaries(
                        {}, optional={"data": st.lists(st.floats() | anything, max_size=3)}
                    )
                    | anything,
                    "extra_info": st.fixed_dictionaries(
                        {}, optional={"sdperf": st.dictionaries(st.text(), anything) | anything}
                    )
                    | anything,
                },
            )
            | anything,
            max_size=3,
        )
        | anything,
        "machine_info": st.fixed_dictionaries({}, optional={"cpu": anything, "system": anything})
        | anything,
    },
)


def cases_or_none(read):
    """Read; a refusal must be ours and name the file."""
    refused = None
    try:
        return list(read().cases.values())
    except SdperfError as error:
        refused = error
    assert "run.json" in str(refused)
    return []


@given(nearly)
@settings(deadline=None)
def test_any_object_is_read_or_refused_in_words(document):
    for case in cases_or_none(lambda: parse_run(Path("run.json"), document, needs_rounds=True)):
        assert case.rounds_s
        assert all(0 < duration < math.inf for duration in case.rounds_s)


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_words(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    cases_or_none(lambda: read_session(path))
