"""Which run a command takes that was given none."""

import json
from datetime import UTC, datetime

import pytest

from sdperf.cli import main
from sdperf.errors import ConfigurationError
from sdperf.store.last_run import (
    LAST_RUN,
    NOTE,
    describe_run,
    find_last_run,
    note_nothing_measured,
    store_as_last,
)

EVENING = datetime(2026, 11, 30, 20, 39, tzinfo=UTC)
RUN = {
    "datetime": "2026-11-29T07:05:00+00:00",
    "commit_info": {"id": "0123456789abcdef"},
    "machine_info": {},
    "version": "5.2.3",
    "benchmarks": [],
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(command="sdperf report"):
    with pytest.raises(ConfigurationError) as caught:
        find_last_run(command)
    return caught.value


def test_a_later_session_without_a_run_is_named_beside_the_older_run(root):
    store_as_last(root, json.dumps(RUN).encode())
    assert str(find_last_run("sdperf report")) == LAST_RUN
    note_nothing_measured(root, EVENING, "latency[a]: no module named subjects")
    told = refused("sdperf figures")
    assert told.what == "the last session left no run"
    assert told.got == (
        "the session of 2026-11-30 20:39 UTC (latency[a]: no module named subjects); "
        f"{LAST_RUN} is an older run, of 2026-11-29 07:05 UTC, commit 0123456789ab"
    )
    assert told.hint == f"pytest benchmarks; the older run is meant: sdperf figures {LAST_RUN}"
    store_as_last(root, json.dumps(RUN).encode())
    assert str(find_last_run("sdperf report")) == LAST_RUN
    assert not (root / NOTE).exists()


def test_without_an_older_run_none_is_named(root):
    assert refused().what == "there is no last run here"
    note_nothing_measured(root, EVENING, "latency[a]: died")
    told = refused()
    assert (told.got, told.hint) == (
        "the session of 2026-11-30 20:39 UTC (latency[a]: died)",
        "pytest benchmarks",
    )


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"datetime": 7}'])
def test_a_damaged_note_is_still_one(root, content):
    store_as_last(root, b"{")
    (root / NOTE).write_bytes(content)
    told = refused()
    assert f"an unknown time ({NOTE} is damaged)" in told.got
    assert f"{LAST_RUN} is an older run, damaged" in told.got


def test_a_run_of_another_tool_has_no_time_and_no_commit(root):
    (root / "run.json").write_text(json.dumps({"benchmarks": [], "commit_info": 3}))
    assert describe_run(root / "run.json") == "of an unknown time, commit unknown"


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (["report"], "sdperf report"),
        (["figures"], "sdperf figures"),
        (["contribute"], "sdperf contribute"),
        (["export", "--format", "junit"], "sdperf export --format junit"),
        (["baseline", "accept", "--reason", "last"], "sdperf baseline accept --reason TEXT"),
    ],
)
def test_every_command_that_takes_the_last_run_refuses_the_older_one(root, capsys, command, again):
    store_as_last(root, json.dumps(RUN).encode())
    note_nothing_measured(root, EVENING, "latency[a]: died")
    assert main(command) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the last session left no run" in said
    assert f"{again} {LAST_RUN}" in said
    main([*command, LAST_RUN])
    assert "the last session left no run" not in " ".join(capsys.readouterr().err.split())
