"""``sdperf resume``: the interrupted session's own command, typed again."""

import subprocess
import sys

import pytest

from sdperf.cli import main
from sdperf.store.journal import Journal, JournalHead, JournalProcess, list_journals, read_journal

PROCESS = JournalProcess(7, "2026-01-02T03:04:05+00:00")


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A folder below the one in which a session was interrupted; returns how to begin another."""

    def begin(*arguments, folder=tmp_path, session="s1"):
        head = JournalHead(session, {}, "c" * 64, arguments, str(folder), planned=3)
        return Journal.begin(tmp_path, head, PROCESS)

    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    return begin


@pytest.fixture
def commands(monkeypatch):
    run = []
    really_run = subprocess.run

    def note(command, *, cwd=None, check, **others):
        if command[0] == "git":
            return really_run(command, cwd=cwd, check=check, **others)
        run.append((command, cwd))
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(subprocess, "run", note)
    return run


def test_the_newest_sessions_command_is_run_again_where_it_was(left, commands, tmp_path, capsys):
    left("old", session="s0")
    left("benchmarks", "--sd-steps", "4", "--", "odd name")
    assert main(["resume"]) == 5
    ((command, folder),) = commands
    assert command == [
        *(sys.executable, "-m", "pytest", "benchmarks", "--sd-steps", "4"),
        *("--sd-resume", "--", "odd name"),
    ]
    assert folder == tmp_path
    assert (
        ": python -m pytest benchmarks --sd-steps 4 --sd-resume -- 'odd name'"
        in capsys.readouterr().out
    )


def test_the_flag_is_not_added_twice(left, commands):
    left("benchmarks", "--sd-resume")
    main(["resume"])
    assert commands[0][0][3:] == ["benchmarks", "--sd-resume"]


def test_what_is_printed_holds_no_control_characters(left, commands, capsys):
    left("bench\x1b[31m")
    main(["resume"])
    assert "\x1b" not in capsys.readouterr().out
    assert commands[0][0][3] == "bench\x1b[31m"


def test_forgetting_one_session_is_said_of_one(left, capsys):
    left("one", session="s1")
    assert main(["resume", "--forget"]) == 0
    assert "removed the journal of 1 interrupted session in" in capsys.readouterr().out


def test_forgetting_removes_all_that_was_left(left, tmp_path, capsys, commands):
    left("one", session="s1")
    left("two", session="s2").path.write_bytes(b"damaged\nand more\n")
    assert main(["resume", "--forget"]) == 0
    assert list_journals(tmp_path) == []
    assert "removed the journals of 2 interrupted sessions" in capsys.readouterr().out
    assert main(["resume"]) == 2
    assert "there is no interrupted session here" in capsys.readouterr().err
    assert commands == []


def test_a_damaged_journal_and_a_folder_that_is_gone_are_one_message_each(
    left, tmp_path, capsys, commands
):
    journal = left("one", folder=tmp_path / "gone")
    assert main(["resume"]) == 2
    assert "the folder that pytest was called in is gone" in capsys.readouterr().err
    journal.path.write_bytes(b"x" + journal.path.read_bytes())
    assert main(["resume"]) == 2
    assert "line 1 of" in capsys.readouterr().err
    assert commands == []


def test_a_session_that_is_running_is_not_forgotten(left, tmp_path, capsys):
    from sdperf.store.session_lock import FolderLock

    journal = left("one")
    lock = FolderLock.take(tmp_path / ".sdperf")
    try:
        assert main(["resume", "--forget"]) == 2
    finally:
        lock.release()
    assert "another session measures in this folder" in capsys.readouterr().err
    assert read_journal(journal.path).head.arguments == ("one",)


def test_a_journal_that_git_tracks_is_refused(left, tmp_path, capsys, commands):
    journal = left("one")

    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    git("init")
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n", encoding="utf-8")
    trap.chmod(0o755)
    git("config", "core.fsmonitor", str(trap))
    assert main(["resume"]) == 5
    git("-c", "core.fsmonitor=false", "add", "--force", str(journal.path))
    assert main(["resume"]) == 2
    assert "the journal came with the repository" in capsys.readouterr().err
    moved = tmp_path / "data"
    (tmp_path / ".sdperf").rename(moved)
    (tmp_path / ".sdperf").symlink_to("data")
    git("-c", "core.fsmonitor=false", "add", "--force", "--all")
    assert main(["resume"]) == 2
    assert len(commands) == 1
    assert not (tmp_path / "sprung").exists()


def test_without_git_a_journal_is_taken_up(left, commands, monkeypatch):
    left("one")
    monkeypatch.setenv("PATH", "")
    assert main(["resume"]) == 5


def test_a_journal_of_another_folder_is_refused(left, tmp_path, capsys, commands):
    left("one", folder=tmp_path.parent, session="s1")
    assert main(["resume"]) == 2
    assert "called in another folder than its journal lies in" in capsys.readouterr().err
    (tmp_path / "out").symlink_to(tmp_path.parent)
    left("one", folder=tmp_path / "out", session="s2")
    assert main(["resume"]) == 2
    assert commands == []
    left("one", folder=tmp_path / "below", session="s3")
    assert main(["resume"]) == 5


@pytest.mark.parametrize(
    "words",
    [
        ("--basetemp=x",),
        ("--basetemp", "x"),
        ("-qp", "evil"),
        ("-pevil",),
        ("-p", "evil", "no:x"),
        ("-qp", "no:x"),
        ("-c", "x"),
        ("-oaddopts=-p evil",),
        ("--override-ini=a=b",),
        ("--rootdir=x",),
        ("--confcutdir=x",),
        ("--config-file=x",),
        ("--import-mode=importlib",),
        ("--pastebin=all",),
        ("@words",),
        ("--", "@words"),
        ("--", "-pevil"),
    ],
)
def test_an_option_that_leads_elsewhere_is_left_to_whoever_typed_it(
    left, tmp_path, capsys, commands, words
):
    left("benchmarks", *words)
    assert main(["resume"]) == 2
    said = capsys.readouterr().err
    assert "does not type an option" in said
    assert f"type it again: cd {tmp_path} && pytest benchmarks" in said
    assert "--sd-resume" in said
    assert commands == []


def test_other_options_are_typed(left, commands):
    words = (
        *("-k", "top", "-ktop", "-mpop", "-rpc", "-vv", "-x", "--sd-compare=c"),
        *("-p", "no:cacheprovider", "-pno:randomly", "--", "top"),
    )
    left(*words)
    assert main(["resume"]) == 5
    assert commands[0][0][3:] == [*words[:-2], "--sd-resume", *words[-2:]]
