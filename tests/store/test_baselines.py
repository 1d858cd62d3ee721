import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sdperf.cli import main
from sdperf.errors import ConfigurationError, ImageError, RecordError
from sdperf.judging.session.comparison import compare_with_accepted
from sdperf.record.guard import Guard
from sdperf.record.json import format_record
from sdperf.record.measurement import GuardLog
from sdperf.store.baselines import BaselineStore
from sdperf.store.runs import read_run
from tests.support.measurements import ENVIRONMENT
from tests.support.saved_runs import CASE, write_run

FINGERPRINT = ENVIRONMENT.fingerprint()


@pytest.fixture
def store(tmp_path):
    return BaselineStore(tmp_path / "benchmarks" / "baselines")


def accept(store, folder, *, reason="first", intended_change=False, **changes):
    folder.mkdir(exist_ok=True)
    run = read_run(write_run(folder, **changes))
    return store.accept(run, reason=reason, intended_change=intended_change)


def test_an_accepted_run_is_an_ordinary_file_with_its_images_reason_and_commit(store, tmp_path):
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    run = read_run(write_run(tmp_path))
    session = store.accept(run, reason=" first\n of all ", now=now)
    assert session.run.path.parent == store.folder / FINGERPRINT
    assert session.run.path.name.startswith("0001_20261123T120000Z_nocommit_")
    (read_back,) = store.load(FINGERPRINT)
    assert read_back.acceptance.reason == "first of all"
    assert read_back.acceptance.accepted_at == "2026-11-23T12:00:00+00:00"
    assert read_back.run.cases[CASE].measurement == run.cases[CASE].measurement
    (image,) = read_back.run.cases[CASE].measurement.images
    assert read_back.images.read(image.sha256).shape == (32, 32, 3)
    document = json.loads(session.run.path.read_text())
    assert document["benchmarks"] == json.loads(run.path.read_text())["benchmarks"]


def test_pytest_benchmark_compares_accepted_sessions(store, tmp_path):
    for seed in range(2):
        accept(store, tmp_path / f"run{seed}", seed=seed, cases={CASE: (1.0 + seed, 2.0)})
    shown = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "--storage", store.folder, "compare"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    ).stdout
    assert "test_latency[fp32-sync-1w] (" in shown
    assert "0001_" in shown
    assert "0002_" in shown


@pytest.mark.parametrize("outcome", ["SLOWER", "DEGRADED", "HEAVIER", "BROKEN"])
def test_a_failed_run_is_refused(store, tmp_path, outcome):
    with pytest.raises(ConfigurationError, match=f"failed: 1 of 1 case; got: {outcome}"):
        accept(store, tmp_path / "run", outcomes={CASE: outcome})
    assert store.is_empty()


@pytest.mark.parametrize("outcome", ["PASS", "FASTER", "NO BASELINE", "INCONCLUSIVE"])
def test_a_run_without_a_failure_is_accepted(store, tmp_path, outcome):
    assert accept(store, tmp_path / "run", outcomes={CASE: outcome}).number == 1


def test_an_intended_change_is_accepted_and_begins_a_new_history(store, tmp_path):
    first = accept(store, tmp_path / "1", seed=1)
    slower = accept(store, tmp_path / "2", seed=2, outcomes={CASE: "SLOWER"}, intended_change=True)
    later = accept(store, tmp_path / "3", seed=3)
    sessions = store.load(FINGERPRINT)
    assert [one.name for one in sessions] == [first.name, slower.name, later.name]
    assert [one.acceptance.level_changed for one in sessions] == [(), (CASE,), ()]


def test_broken_is_never_accepted(store, tmp_path):
    with pytest.raises(ConfigurationError, match="BROKEN"):
        accept(store, tmp_path / "run", outcomes={CASE: "BROKEN"}, intended_change=True)


def test_a_case_that_left_no_measurement_is_not_forgotten(store, tmp_path):
    with pytest.raises(RecordError, match="no measurement of each of its cases"):
        accept(store, tmp_path / "run", outcomes={CASE: "PASS", "lost": "PASS"})


@pytest.mark.parametrize(
    ("summary", "message"),
    [({"void": "null control"}, "is void"), ({"interrupted": True}, "interrupted")],
)
def test_a_run_that_does_not_count_is_refused(store, tmp_path, summary, message):
    with pytest.raises(ConfigurationError, match=message):
        accept(store, tmp_path / "run", **summary)


def test_a_run_without_sdperfs_own_part_is_refused(store, tmp_path):
    path = write_run(tmp_path)
    document = json.loads(path.read_text())
    del document["sdperf"]
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigurationError, match="does not say what became of its cases"):
        store.accept(read_run(path), reason="x")


def test_the_same_run_is_not_accepted_twice(store, tmp_path):
    accept(store, tmp_path / "run")
    with pytest.raises(ConfigurationError, match="accepted before"):
        accept(store, tmp_path / "run")


def test_a_reason_is_needed(store, tmp_path):
    with pytest.raises(ConfigurationError, match="needs a reason"):
        accept(store, tmp_path / "run", reason=" ")


def test_a_missing_or_changed_image_is_refused(store, tmp_path):
    path = write_run(tmp_path)
    (image,) = (tmp_path / "images").glob("*.png")
    image.write_bytes(image.read_bytes() + b"x")
    with pytest.raises(ImageError, match="was changed"):
        store.accept(read_run(path), reason="x")
    image.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        store.accept(read_run(path), reason="x")
    assert store.is_empty()


def test_an_edited_session_is_damage(store, tmp_path):
    session = accept(store, tmp_path / "run")
    path = session.run.path
    path.write_text(path.read_text().replace("1.1", "1.2"))
    with pytest.raises(RecordError, match="changed after it was accepted"):
        store.load(FINGERPRINT)


def test_a_file_that_nobody_accepted_is_damage(store, tmp_path):
    folder = store.folder / FINGERPRINT
    folder.mkdir(parents=True)
    write_run(folder, name="0001_smuggled.json")
    with pytest.raises(RecordError, match="never accepted"):
        store.load_all()
    (folder / "0001_smuggled.json").rename(folder / "smuggled.json")
    with pytest.raises(RecordError, match="no accepted session"):
        store.load_all()


def test_reject_keeps_the_images_that_others_need(store, tmp_path):
    kept = accept(store, tmp_path / "1", seed=1)
    twin = accept(store, tmp_path / "2", seed=1, cases={CASE: (2.0,)})
    other = accept(store, tmp_path / "3", seed=3)
    assert len(store.reject(other)) == 2
    assert len(store.reject(twin)) == 1
    (session,) = store.load(FINGERPRINT)
    assert session.name == kept.name
    assert len(list((store.folder / FINGERPRINT / "images").iterdir())) == 1
    store.reject(session)
    assert store.is_empty()
    assert not (store.folder / FINGERPRINT).exists()


def test_sessions_are_found_by_number_name_and_file(store, tmp_path):
    first = accept(store, tmp_path / "1", seed=1)
    second = accept(store, tmp_path / "2", seed=2)
    for name in ("2", "0002", second.name, str(second.run.path), second.run.path.name):
        assert store.find(name).name == second.name
    with pytest.raises(ConfigurationError, match="2 accepted sessions are called 000"):
        store.find("000")
    with pytest.raises(ConfigurationError, match="no accepted sessions are called 9"):
        store.find("9", first.fingerprint)


KILLED = """
import os, signal, sys
from pathlib import Path

steps = 0

def counted(function):
    def call(*arguments, **named):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

import tempfile
os.fsync = counted(os.fsync)
os.fdopen = counted(os.fdopen)
tempfile.mkstemp = counted(tempfile.mkstemp)
Path.replace = counted(Path.replace)
Path.chmod = counted(Path.chmod)
Path.mkdir = counted(Path.mkdir)

from sdperf.store.baselines import BaselineStore
from sdperf.store.runs import read_run
for line in sys.stdin:
    steps = int(line)
    process = os.fork()
    if process == 0:
        BaselineStore(Path("store")).accept(read_run(Path("new/run.json")), reason="second")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
"""Forks, for each number of steps, a process that kills itself at that step."""


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(tmp_path):
    store = BaselineStore(tmp_path / "store")
    accept(store, tmp_path / "old", seed=1)
    (tmp_path / "new").mkdir()
    write_run(tmp_path / "new", seed=2, cases={CASE: (2.0, 2.0)})
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = 0
    with subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forking:
        for step in range(1, 40):
            print(step, file=forking.stdin, flush=True)
            code = int(forking.stdout.readline())
            sessions = store.load(FINGERPRINT)
            for session in sessions:
                for image in session.run.cases[CASE].measurement.images:
                    session.images.read(image.sha256)
            assert len(sessions) in (1, 2)
            if code == 0:
                break
            assert code == -signal.SIGKILL
            killed += 1
    assert killed >= 6
    assert len(store.load(FINGERPRINT)) == 2


class TestCommand:
    def test_sessions_before_a_changed_level_are_not_counted_as_ones_that_bind(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        other = CASE.replace("latency", "batch")

        def accept_next(seed, outcome="PASS", *arguments):
            cases = {CASE: (1.0, 2.0), other: (1.0, 2.0 + seed)}
            write_run(
                tmp_path / f"run{seed}",
                seed=seed,
                cases=cases,
                outcomes={CASE: outcome, other: "PASS"},
            )
            run = tmp_path / f"run{seed}" / "run.json"
            assert main(["baseline", "accept", str(run), "--reason", "r", *arguments]) == 0
            return " ".join(capsys.readouterr().out.split())

        (tmp_path / "run0").mkdir()
        (tmp_path / "run1").mkdir()
        assert "1 accepted session, 4 more until the statistical gate binds" in accept_next(0)
        said = accept_next(1, "DEGRADED", "--intended-change")
        assert "level changed, a new history begins: 1 case" in said
        left = (
            "2 accepted sessions, of which 1 counts for 1 of 2 cases, 4 more until the "
            "statistical gate binds"
        )
        assert left in said
        assert main(["baseline", "list"]) == 0
        assert left in " ".join(capsys.readouterr().out.split())
        (folder,) = (tmp_path / "benchmarks/baselines").iterdir()
        accepted = BaselineStore(tmp_path / "benchmarks/baselines").load(folder.name)
        lines = compare_with_accepted(accepted, 0.03, 0.25, [CASE, other, "new"]).lines
        assert left in lines[0]
        assert lines[1].startswith("only +25.0 % fails; 4 more accepted sessions for the limit of")
        assert (
            compare_with_accepted(accepted, 0.03, 0.25, [other])
            .lines[0]
            .endswith("2 accepted sessions, 3 more until the statistical gate binds")
        )

    def test_accept_list_show_reject(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".sdperf").mkdir()
        write_run(tmp_path / ".sdperf", name="last-run.json")
        assert main(["baseline", "list"]) == 0
        assert "no baselines in benchmarks/baselines" in capsys.readouterr().out
        assert main(["baseline", "accept", "--reason", "first baseline of this machine"]) == 0
        said = capsys.readouterr().out
        assert "accepted 1 case as benchmarks/baselines/" in " ".join(said.split())
        assert "1 accepted session, 4 more until the statistical gate binds" in " ".join(
            said.split()
        )
        assert main(["baseline", "list"]) == 0
        assert "first baseline of this machine" in capsys.readouterr().out
        assert main(["baseline", "show", "1"]) == 0
        said = capsys.readouterr().out
        assert "1.00 s per image, 3 rounds" in said
        assert "guards: unknown" in said
        assert max(map(len, said.splitlines()[2:])) <= 100
        assert main(["baseline", "reject", "1"]) == 0
        assert main(["baseline", "show", "1"]) == 2
        assert "no accepted sessions are called 1" in capsys.readouterr().err

    def test_accept_says_which_cases_the_trend_leaves_out(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        path = write_run(tmp_path)
        document = json.loads(path.read_text())
        busy = Guard("load", "fail", "4.19 per core", "other work takes processors")
        log = format_record(GuardLog("warn", before=(busy,)))
        (document["benchmarks"][0]["extra_info"]["sdperf"]["guards"]) = log
        path.write_text(json.dumps(document))
        assert main(["baseline", "accept", str(path), "--reason", "x"]) == 0
        said = capsys.readouterr().out
        assert (
            "not fit: sdperf trend leaves 1 of 1 case out\n"
            "  load: 4.19 per core\n"
            "  later runs are compared with it all the same; to take the session out again:\n"
            "    sdperf baseline reject 1\n"
        ) in said

    def test_no_last_run_is_one_message(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["baseline", "accept", "--reason", "x"]) == 2
        assert "there is no last run here" in capsys.readouterr().err

    def test_a_folder_that_cannot_be_written_is_one_message(self, tmp_path, capsys):
        run = write_run(tmp_path)
        blocked = tmp_path / "blocked"
        blocked.write_text("a file")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            status = main(
                ["baseline", "accept", str(run), "--reason", "x", "--baselines", str(blocked)]
            )
        assert status == 2
        assert "cannot be written" in capsys.readouterr().err
