"""``sdperf init``: it shows, asks, writes, and overwrites nothing."""

import os
import subprocess
import sys

import pytest

from sdperf.cli import main


def run(*words):
    return main(["init", *map(str, words)])


def list_files(folder):
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def test_without_a_terminal_it_shows_and_writes_nothing(tmp_path, capsys):
    assert run(tmp_path) == 1
    shown = capsys.readouterr().out
    assert "new     benchmarks/test_latency.py" in shown
    assert "nothing was written; do: type it again with --yes" in shown
    assert list_files(tmp_path) == []


def test_it_writes_what_it_showed_and_has_nothing_to_do_afterwards(tmp_path, capsys):
    words = (tmp_path, "--subject", "new", "--workflow", "hosted", "--yes")
    assert run(*words) == 0
    shown = capsys.readouterr().out
    for name in list_files(tmp_path):
        assert f"new     {name}" in shown
    assert all(len(line) <= 100 for line in shown.splitlines() if str(tmp_path) not in line)
    assert run(*words) == 0
    assert capsys.readouterr().out.endswith("nothing to do\n")


def test_a_settings_file_that_is_not_there_is_not_said_to_be_kept(tmp_path, capsys):
    run(tmp_path)
    nothing, why = "without pytest.ini", "neither --model nor --subject asks for a setting"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "pytest.ini" in line]
    assert said.split(maxsplit=2) == [*nothing.split(), why]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run(tmp_path)
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "pytest.ini" in line]
    assert said.split(maxsplit=2) == ["keep", "pytest.ini", why]


def test_what_it_writes_is_collected_by_pytest(tmp_path):
    assert run(tmp_path, "--subject", "new", "--yes") == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "benchmarks"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "benchmarks/test_latency.py::test_latency[fp32-sync-1w]" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--subject", "mine"), "expected: MODULE:FUNCTION such as my_package.pipelines:fast"),
        (("--subject", "a b:c"), "--subject cannot be used"),
        (("--model", "a\nb"), "--model cannot be used"),
        (("--model", "./gone"), "--model names a folder that is not there; got: ./gone"),
        (("--requirement", "it's"), "--requirement cannot be used"),
        (("--upgrade", "--model", "x"), "--upgrade adds nothing new"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(tmp_path, capsys, words, said):
    assert run(tmp_path, "--yes", *words) == 2
    assert said in capsys.readouterr().err
    assert list_files(tmp_path) == []


def test_a_folder_that_is_missing_is_named(tmp_path, capsys):
    assert run(tmp_path / "gone", "--yes") == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_nothing_is_written_through_a_link_out_of_the_repository(tmp_path, capsys):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "benchmarks").symlink_to(outside)
    assert run(inside, "--yes") == 2
    assert "leads out of the repository" in capsys.readouterr().err
    assert list_files(outside) == []


def test_a_file_of_another_encoding_is_named(tmp_path, capsys):
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe")
    assert run(tmp_path, "--yes") == 2
    assert ".gitignore cannot be read" in capsys.readouterr().err


def test_on_a_terminal_it_asks_and_takes_no_for_an_answer(tmp_path, capsys, monkeypatch):
    answers = iter(["", "new", "hosted", "n"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: next(answers))
    assert run(tmp_path) == 1
    assert "new     benchmarks/pipeline.py" in capsys.readouterr().out
    assert list_files(tmp_path) == []
    answers = iter(["", "", "", "y"])
    assert run(tmp_path) == 0
    assert "benchmarks/test_latency.py" in list_files(tmp_path)


def test_a_file_keeps_its_line_ends_its_mode_and_the_link_that_leads_to_it(tmp_path, capsys):
    (tmp_path / "below").mkdir()
    target = tmp_path / "below/ignored"
    target.write_bytes(b"a\x0cb\r\nc\r\n")
    target.chmod(0o640)
    (tmp_path / ".gitignore").symlink_to("below/ignored")
    assert run(tmp_path, "--yes") == 0
    assert target.read_bytes() == b"a\x0cb\r\nc\r\n.benchmarks/\r\n.sdperf/\r\n"
    assert target.stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / ".gitignore").is_symlink()
    shown = capsys.readouterr().out
    assert r"+.benchmarks/\r" in shown
    assert "          -c" not in shown


def test_a_line_that_gets_an_end_is_shown_as_changed(tmp_path, capsys):
    (tmp_path / ".gitignore").write_bytes(b"a\x0cb")
    assert run(tmp_path) == 1
    assert "-a\\x0cb  (no line end)\n          +a\\x0cb\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", [".gitignore", "pytest.ini", "benchmarks/test_latency.py"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is no file; got: a device, a pipe or a socket"),
        (os.mkdir, "is no file; got: a folder"),
        (lambda path: path.symlink_to(path), "leads nowhere"),
        (lambda path: path.write_bytes(b"#" * (2**20 + 1)), "is too large to add lines to"),
    ],
)
def test_what_is_no_file_to_add_lines_to_is_refused_unread(tmp_path, capsys, name, make, said):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    make(path)
    before = list_files(tmp_path)
    assert run(tmp_path, "--yes") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert name in line
    assert list_files(tmp_path) == before
