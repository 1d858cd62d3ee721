"""What is found out before anything is measured, and what is said when it happens later."""

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys

import pytest
import torch

from sdperf import outputs
from sdperf.errors import ConfigurationError
from sdperf.store.journal import Journal, list_journals, read_journal
from sdperf.store.session_lock import FolderLock
from tests.support.disks import mounted


def test_two_sessions_in_one_folder_end_in_one_message(bench, script, pytester):
    with (pytester.mkdir(".sdperf") / "session.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"pid": 4711, "started_at": "2026-01-02T03:04:05+00:00"}')
        file.flush()
        second = bench()
        assert second.ret == 4
        second.stderr.fnmatch_lines(
            ["ERROR: another session measures in this folder*process 4711, since '2026-01-02*"]
        )
    assert script.rounds == 0
    assert bench().ret == 0, "the lock of a process that ended is nobody's"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x\\u001b[31m", "started_at": 1}'])
def test_whoever_holds_the_lock_the_message_is_plain(tmp_path, content):
    lock = FolderLock.take(tmp_path)
    try:
        (tmp_path / "session.lock").write_text(content)
        with pytest.raises(ConfigurationError, match="a process that did not say") as caught:
            FolderLock.take(tmp_path)
        assert str(caught.value).isprintable()
    finally:
        lock.release()


def test_a_folder_that_cannot_be_written_is_found_out_first(bench, script, pytester):
    with mounted(pytester.path / "out", "1m") as make_read_only:
        assert make_read_only() == 0
        for option in (
            "--benchmark-json=out/run.json",
            "--sd-html=out/report.html",
            "--sd-markdown=out/summary.md",
        ):
            refused = bench(option)
            assert refused.ret == 4
            name = option.partition("=")[0]
            refused.stderr.fnmatch_lines([f"ERROR: {name}: *cannot be written*Read-only*"])
        refused = bench("--benchmark-autosave", "--benchmark-storage=out/runs")
        assert refused.ret == 4
        refused.stderr.fnmatch_lines(["ERROR: --benchmark-autosave: *Read-only*"])
    assert script.rounds == 0


def test_sdperfs_own_folder_read_only_is_found_out_first(bench, script, pytester):
    with mounted(pytester.path / ".sdperf", "1m") as make_read_only:
        assert make_read_only() == 0
        refused = bench()
        assert refused.ret == 4
        refused.stderr.fnmatch_lines(["ERROR: the session's own folder: *Read-only*"])
    assert script.rounds == 0


def test_a_disk_without_room_is_found_out_first(bench, script, pytester, monkeypatch):
    with mounted(pytester.path / "out", "1m"):
        refused = bench("--benchmark-json=out/run.json")
        assert refused.ret == 4
        refused.stderr.fnmatch_lines(["ERROR: --benchmark-json: the disk of *is nearly full*"])
        monkeypatch.setenv("TMPDIR", str(pytester.path / "out"))
        refused = bench()
        assert refused.ret == 4
        refused.stderr.fnmatch_lines(["ERROR: TMPDIR*the disk of *is nearly full*"])
    assert script.rounds == 0


def test_a_file_that_cannot_be_written_is_found_out_first(bench, script, pytester):
    (pytester.path / "run.json").mkdir()
    refused = bench("--benchmark-json=run.json")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: --benchmark-json: *run.json cannot be written*"])
    assert script.rounds == 0


def test_a_disk_that_fills_up_keeps_what_was_finished(bench, script, pytester, monkeypatch):
    monkeypatch.setattr(outputs, "LEAST_FREE_BYTES", 0)
    with mounted(pytester.path / ".sdperf", "256k"):
        add, filled = Journal.add, []

        def add_then_fill(journal, entry):
            add(journal, entry)
            if not filled:
                filled.append(pytester.path / ".sdperf/filler")
                with contextlib.suppress(OSError), filled[0].open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1024))

        monkeypatch.setattr(Journal, "add", add_then_fill)
        full = bench()
        assert full.ret == 2
        full.stdout.fnmatch_lines(
            ["latency*NO BASELINE*", "the journal cannot be written: No space*"]
        )
        full.stdout.fnmatch_lines(["*once there is room again: sdperf resume*"])
        assert "Traceback" not in full.stdout.str() + full.stderr.str()
        (path,) = list_journals(pytester.path)
        assert list(read_journal(path).entries) == ["test_bench.py::test_latency[fp32-sync-1w]"]
        filled[0].unlink()
        rounds = script.rounds
        assert bench("--sd-resume").ret == 0
        assert script.rounds > rounds
        document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
        assert list(document["sdperf"]["earlier"]) == ["test_bench.py::test_latency[fp32-sync-1w]"]


@pytest.mark.parametrize(
    ("option", "flags"),
    [
        ("--benchmark-json", ("--benchmark-json=run.json",)),
        ("--benchmark-autosave", ("--benchmark-autosave",)),
        ("--benchmark-save", ("--benchmark-save=mine",)),
    ],
)
def test_what_cannot_be_saved_after_all_is_one_line_and_the_run_is_kept(
    bench, script, pytester, monkeypatch, option, flags
):
    from pytest_benchmark.session import BenchmarkSession
    from pytest_benchmark.storage.file import FileStorage

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BenchmarkSession, "save_json", full)
    monkeypatch.setattr(FileStorage, "save", full)
    result = bench(*flags)
    assert result.ret == 3
    result.stdout.fnmatch_lines(
        ["latency*NO BASELINE*", f"{option} could not be written: No space*"]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert len(json.loads((pytester.path / ".sdperf/last-run.json").read_text())["benchmarks"]) == 2
    (path,) = list_journals(pytester.path)
    assert len(read_journal(path).entries) == 2


def test_an_empty_result_never_overwrites_a_full_one(bench, script, pytester):
    assert bench().ret == 0
    path = pytester.path / ".sdperf/last-run.json"
    before = path.read_bytes()
    assert bench("--benchmark-skip").ret == 0
    assert path.read_bytes() == before


def test_code_that_changed_does_not_count(bench, script, pytester):
    pytester.makepyfile(
        test_bench="""
        import pytest

        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_stage(sd_benchmark):
            pytest.exit("as Ctrl-C would")
        """
    )
    assert bench().ret == 2
    other = bench("--sd-resume", rounds=3)
    assert other.ret == 4
    other.stderr.fnmatch_lines(
        ["ERROR: the interrupted session*the setting rounds was 2 and is 3*"]
    )
    found = bench("-k", "latency")
    found.stdout.fnmatch_lines(
        [
            "sdperf: the session that began*left 1 finished case of 2 selected,",
            "*sdperf resume goes on with it, sdperf resume --forget removes",
        ]
    )
    (pytester.path / "helper.py").write_text("one = 1\n")
    changed = bench("--sd-resume")
    assert changed.ret == 4
    changed.stderr.fnmatch_lines(
        ["ERROR: the interrupted session*the code has changed since*--forget*"]
    )


def test_another_machine_measures_anew_and_says_so(bench, script, pytester):
    assert bench("-x", "--sd-strict").ret == 1
    (pytester.path / "stop").touch()
    pytester.makepyfile(
        test_bench="""
        import pytest

        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_stage(sd_benchmark):
            pytest.exit("as Ctrl-C would")
        """
    )
    assert bench().ret == 2
    (path,) = list_journals(pytester.path)
    content = read_journal(path)
    (entry,) = content.entries.values()
    import dataclasses

    other = dataclasses.replace(entry, environment=dict(entry.environment) | {"chip": "another"})
    journal = Journal.go_on(content, content.processes[0])
    journal.add(other)
    again = bench("--sd-resume", "-k", "latency")
    again.stdout.fnmatch_lines(
        ["measured again: latency*: chip of the machine was another and is*"]
    )
    assert "resumed:" not in again.stdout.str()


def test_nothing_to_resume_is_one_message(bench, script):
    refused = bench("--sd-resume")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: there is no interrupted session here*"])


def test_a_closed_standard_output_is_found_out_first(pytester, bench):
    captured = []
    pytester.runpytest_inprocess = lambda *given: captured.extend(map(str, given))
    bench()
    command = [sys.executable, "-m", "pytest", *captured]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        stderr=subprocess.PIPE,
        cwd=pytester.path,
        text=True,
        check=False,
    )
    assert ended.returncode == 4
    assert "ERROR: standard output is closed" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (pytester.path / ".sdperf/last-run.json").exists()


def test_a_name_that_is_no_utf8_is_kept_escaped(bench, script, pytester):
    source = "def test_latency(sd_benchmark):\n    sd_benchmark.latency()\n"
    name = os.fsdecode(b"test_\xfe.py")
    (pytester.path / "test_bench.py").unlink()
    (pytester.path / name).write_text(source)
    result = bench(
        "--sd-html=report.html",
        "--sd-markdown=summary.md",
        "--benchmark-json=run.json",
        history="h.db",
    )
    assert result.ret == 0
    assert "cannot" not in result.stdout.str()
    for written in ("report.html", "summary.md"):
        (pytester.path / written).read_text(encoding="utf-8")
    assert b"test_\\udcfe.py" in (pytester.path / "run.json").read_bytes()


def test_a_history_that_is_no_database_is_refused_first(bench, script, pytester):
    pytester.path.joinpath("README.md").write_text("# no database\n" * 500)
    refused = bench(history="README.md")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: the history *README.md cannot be used*not a database*"])
    assert script.rounds == 0
    assert "# no database" in pytester.path.joinpath("README.md").read_text()


def test_a_history_whose_name_is_not_utf8_is_refused_first(bench, script):
    refused = bench(history=os.fsdecode(b"caf\xe9.db"))
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: the history cannot be kept in a place whose name*"])
    assert script.rounds == 0


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("nowhere", "--sd-subject*nowhere*module:function, such as my_pipelines:make*"),
        ("nowhere:make", "*module nowhere cannot be found; got: no nowhere in this folder*"),
        ("nowhere.deep:make", "*module nowhere.deep cannot be found; got: no nowhere in*"),
        ("paint.nope:make", "*module paint.nope cannot be found; got: no nope in paint;*"),
    ],
)
def test_a_subject_that_cannot_be_found_is_one_message_before_anything_starts(
    bench, script, pytester, subject, message
):
    pytester.mkpydir("paint").joinpath("brush.py").touch()
    refused = bench(subject=subject)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert len(refused.errlines) < 4
    assert script.rounds == 0


def test_a_device_that_torch_does_not_see_is_refused_before_anything_starts(bench, script):
    absent = "cuda" if torch.backends.mps.is_available() else "mps"
    refused = bench("-W", "error", device=absent)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([f"ERROR: torch * sees no {absent} device here; got: *"])
    assert script.rounds == 0
    assert "BROKEN" not in refused.stdout.str()
    assert bench(device=absent, subject="nowhere:make").ret == 4, "both are looked at"


def test_a_cache_that_the_network_cannot_have_is_refused_before_it_is_loaded(bench, script):
    refused = bench("--sd-optimisations=none,mag_cache", spawned=True)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(
        ["ERROR: mag_cache cannot be used with this model; got: a UNet2DConditionModel*"]
    )
    assert script.rounds == 0
