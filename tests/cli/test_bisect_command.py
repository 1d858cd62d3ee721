"""``sdperf bisect`` from the command line: real repositories, worktrees and workers, no torch."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.cli import main
from sdperf.cli.bisect.ranges import join_range
from sdperf.cli.shared import stepping
from sdperf.images.png import decode_png
from sdperf.sweep import releases
from tests.ab.sides.test_environments import pretend_pip
from tests.support.ab_standin import PROGRAM
from tests.support.repositories import Repository

SUBJECT = ("--subject", "mine:make", "--guards", "off", "--pictures", "1")
PLAIN = "def make():\n    return {'seconds': 1.0}\n"
BLACK = "def make():\n    return {'seconds': 1.0, 'flat': True}\n"
SLOW = "def make():\n    return {'seconds': 1.1}\n"
BROKEN = "import no_such_library\n"


@pytest.fixture(autouse=True)
def stand_in(staged_once, monkeypatch, tmp_path):
    """Workers without torch; afterwards nothing may be left behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield temporary
    assert list(temporary.iterdir()) == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    found = Repository(tmp_path / "project")
    monkeypatch.chdir(found.folder)
    yield found
    assert found.git("worktree", "list").count("\n") == 0


def grow(repository, *texts):
    """Commit each text, the good one first; return the hashes."""
    return [repository.commit(f"c{number}", text) for number, text in enumerate(texts)]


def run(capsys, *arguments):
    status = main(["bisect", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_changed_image_is_found_past_a_commit_that_does_not_import(capsys, repository):
    # a subject line that would be markup, a link and a call
    repository.commit("c0", PLAIN)
    for number, text in enumerate([PLAIN, BROKEN, PLAIN, BLACK], 1):
        repository.commit(f"c{number}", text)
    repository.git("commit", "--quiet", "--amend", "-m", "Paint *black* @all <b> | #1")
    good, culprit = repository.hashes["c0"], repository.git("rev-parse", "HEAD")
    status, out, err = run(capsys, "main~4", "main", *SUBJECT, "--for", "image")
    assert status == 0, err
    assert out.splitlines()[0] == f"first bad commit: {culprit[:12]} Paint *black* @all <b> | #1"
    assert "M mine.py" in out
    assert "skipped, side B" in err
    assert all(len(line) <= 100 for line in out.splitlines())
    report = Path(f"sdperf-bisect-{culprit[:12]}.md").read_text()
    assert "Paint \\*black\\* @\u2060all &lt;b> \\| #\u20601" in report
    assert "| skipped | - | - |" in report
    assert f"sdperf bisect {good[:12]} {culprit[:12]} --for image" in report
    (picture,) = Path(f"sdperf-bisect-{culprit[:12]}-images").iterdir()
    assert f"({picture.parent.name}/{picture.name})" in report.replace("<", "").replace(">", "")
    assert decode_png(picture.read_bytes()).shape[1] > 3 * 64
    assert repository.git("status", "--short", "--untracked-files=no") == ""


def test_a_slow_commit_is_found_with_its_stage_and_the_path(capsys, repository, tmp_path):
    _, _, culprit = grow(repository, PLAIN, PLAIN, SLOW)
    path = tmp_path / "found.md"
    status, out, err = run(
        capsys, "main~2", "main", *SUBJECT, "--for", "speed", "--report", str(path)
    )
    assert status == 0, err
    assert f"first bad commit: {culprit[:12]} Add c2" in out
    assert "% of the loss is in denoise" in out
    report = path.read_text()
    assert "| denoise | 800 ms | 880 ms |" in report
    assert "| ends |" in report
    assert "+10.0 % (" in report
    assert "The error was divided by 3 tests" in report
    assert str(tmp_path) not in report
    # asked again, it is answered without measuring, and the same is written
    path.unlink()
    status, again, err = run(
        capsys, "main~2", "main", *SUBJECT, "--for", "speed", "--report", str(path)
    )
    assert (status, again, path.read_text()) == (0, out, report)
    assert "going on after 2 tests" in err
    assert "loading" not in err


def test_nothing_to_find_exits_1_and_says_so(capsys, repository):
    grow(repository, PLAIN, PLAIN)
    status, out, _ = run(capsys, "main~1", "main", *SUBJECT, "--for", "image")
    assert status == 1
    assert out.startswith("nothing to find: the bad end is not worse than the good end (image)")
    assert list(Path.cwd().glob("*.md")) == []


def test_suspects_that_cannot_be_tested_are_all_named(capsys, repository):
    _, *suspects = grow(repository, PLAIN, BROKEN, BROKEN, BLACK)
    status, out, _ = run(capsys, "main~3", "main", *SUBJECT, "--for", "image")
    assert status == 1
    assert out.startswith("the first bad commit is one of 3, which could not be told apart")
    for commit in suspects:
        assert commit[:12] in out
    report = Path(f"sdperf-bisect-{suspects[-1][:12]}.md").read_text()
    assert all(commit[:12] in report for commit in suspects)


KILL_ONCE = """
import os, pathlib, signal
marker = pathlib.Path(os.environ["KILLED_AT"])
if not marker.exists():
    marker.touch()
    os.kill(int(os.environ["COMMAND"]), signal.{name})
    import time
    time.sleep(60)
"""
HEARS_INTERRUPTS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
"""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_search_that_was_ended_goes_on_where_it_was(
    capsys, repository, monkeypatch, tmp_path, stand_in, staged_once, name
):
    ending = KILL_ONCE.format(name=name)
    *_, culprit = grow(repository, PLAIN, PLAIN + ending, PLAIN, BLACK)
    monkeypatch.setenv("KILLED_AT", str(tmp_path / "killed"))
    monkeypatch.setenv("TMPDIR", str(stand_in))
    asked = ("main~3", "main", *SUBJECT, "--for", "image")
    killed = subprocess.run(
        [sys.executable, "-c", HEARS_INTERRUPTS + PROGRAM, "bisect", *asked],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **staged_once.environment,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        pass_fds=(staged_once.channel.fileno(),),
    )
    assert (tmp_path / "killed").exists()
    if name == "SIGKILL":
        assert killed.returncode == -signal.SIGKILL
        assert repository.git("worktree", "list").count("\n") > 0, "nothing was left to clean"
    else:
        assert killed.returncode == 130, killed.stderr
        assert "interrupted: 3 of 3 commits are left, kept for the next time" in killed.stdout
        assert repository.git("worktree", "list").count("\n") == 0
    status, out, err = run(capsys, *asked)
    assert status == 0, err
    assert f"first bad commit: {culprit[:12]}" in out
    assert "going on after 1 test," in err
    assert err.count("the ends:") == 0, "the ends were compared again"
    state = json.loads(next(Path(".sdperf/bisect").glob("*.json")).read_text())
    assert state["steps"][0]["answer"] == "good"


def test_beginning_anew_forgets_what_was_found(capsys, repository):
    grow(repository, PLAIN, BLACK)
    asked = ("main~1", "main", *SUBJECT, "--for", "image")
    assert run(capsys, *asked)[0] == 0
    status, _, err = run(capsys, *asked, "--no-resume")
    assert status == 0
    assert "the ends:" in err
    assert "going on" not in err


@pytest.fixture
def packages(monkeypatch, tmp_path, present):
    """Versions of a package: from 1.2 on its image is black."""
    (tmp_path / "mine.py").write_text(
        "import planted_sd\n"
        "def make():\n"
        "    return {'seconds': 1.0, 'flat': planted_sd.VERSION >= '1.2'}\n"
    )
    monkeypatch.chdir(tmp_path)
    store = EnvironmentStore(tmp_path / "store", present, run=pretend_pip)

    def open_store(pip_options, say):
        return replace(store, pip_options=tuple(pip_options), say=say)

    monkeypatch.setattr(stepping, "open_store", open_store)
    return [
        part
        for version in ("1.0", "1.1", "1.2", "1.3")
        for part in ("--python-package", f"planted-sd=={version}")
    ]


def test_the_first_bad_version_is_found_each_in_an_environment_of_its_own(capsys, packages):
    status, out, err = run(capsys, *packages, *SUBJECT, "--for", "image")
    assert status == 0, err
    assert out.splitlines()[0] == "first bad version: planted-sd 1.2"
    assert err.count("making an environment") == 4
    report = Path("sdperf-bisect-planted-sd-1.2.md").read_text()
    assert "planted-sd 1.0 to 1.3" in report
    assert "--python-package planted-sd==1.0" in report
    status, out, _ = run(capsys, "--list-environments")
    assert status == 0
    assert "planted-sd==1.1" in out
    assert "4 environments" in out
    assert run(capsys, "--clean-environments")[0] == 0
    assert "0 environments" in run(capsys, "--list-environments")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "there is nothing to search"),
        (("main",), "there is nothing to search; got: 1 revisions"),
        (("main~1", "main", "extra"), "there is nothing to search"),
        (("main~1", "main", "--python-package", "torch==2.13.0"), "there is nothing to search"),
        (("no-such-branch", "main"), "no such revision; got: no-such-branch"),
        (("main", "main~1"), "no ancestor"),
        (("main", "main"), "between a commit and itself"),
        (("--python-package", "torch==2.13.0"), "a list of one version"),
        (("--python-package", "torch", "--python-package", "torch==2.13.0"), "no exact version"),
        (("main~1", "main", "--set", "precision=fp8"), "the setting precision cannot be used"),
        (("main~1", "main", "--cases", "speed"), "there is no such case"),
        (("main~1", "main", "--report", "/no/such/folder/x.md"), "--report cannot be written"),
        (("main~1", "main", "--guards", "off"), "nothing of this repository takes part"),
        (("main~1", "main", *SUBJECT[:1], "other:make", *SUBJECT[2:]), "side A"),
    ],
)
def test_what_cannot_be_used_is_one_message(capsys, repository, arguments, words):
    grow(repository, PLAIN, PLAIN)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    message = [line for line in err.splitlines() if line.startswith("sdperf bisect: ")][-1]
    assert words in message
    assert "Traceback" not in err


def test_outside_a_repository_revisions_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "main", "HEAD")
    assert status == 2
    assert "this folder lies in no git repository" in " ".join(err.split())


def test_a_dirty_submodule_is_refused(capsys, repository, tmp_path):
    library = Repository(tmp_path / "library")
    library.commit("one", "SECONDS = 1.0\n")
    grow(repository, PLAIN)
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    repository.git(*add, str(library.folder), "library")
    repository.commit("c1", BLACK)
    (repository.folder / "library" / "mine.py").write_text("SECONDS = 2.0\n")
    status, _, err = run(capsys, "main~1", "main", *SUBJECT, "--for", "image")
    assert status == 2
    assert "the submodule library has uncommitted changes" in err


def test_a_step_that_needs_the_network_and_finds_none_ends_the_search(
    capsys, packages, monkeypatch
):
    real = stepping.open_store

    def fail(command, note, _held):
        note("WARNING: Failed to establish a new connection: Name or service not known\n")
        return 1

    monkeypatch.setattr(stepping, "open_store", lambda *given: replace(real(*given), run=fail))
    status, out, err = run(capsys, *packages, *SUBJECT, "--for", "image")
    assert (status, out) == (2, "")
    assert "planted-sd==1.0 cannot be downloaded" in err


def test_temporary_files_below_a_name_that_is_not_utf8(capsys, repository, tmp_path, monkeypatch):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    grow(repository, PLAIN, PLAIN, BLACK)
    status, out, err = run(capsys, "main~2", "main", *SUBJECT, "--for", "image")
    assert status == 0, err
    assert out.startswith("first bad commit: ")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("ends", "texts"),
    [
        ([], ["mflux 1.0 .. 1.3"]),
        (["1.0", "..", "1.3"], ["mflux"]),
    ],
)
def test_a_range_may_be_typed_without_quotes(ends, texts):
    arguments = argparse.Namespace(ends=ends, python_package=texts)
    join_range(arguments)
    assert (arguments.ends, arguments.python_package) == ([], ["mflux 1.0 .. 1.3"])
    for left in (([], ["a==1", "a==2"]), (["v1", "v2"], [])):
        arguments = argparse.Namespace(ends=left[0], python_package=left[1])
        join_range(arguments)
        assert (arguments.ends, arguments.python_package) == left


def test_a_range_of_releases_is_all_of_them(monkeypatch, capsys, packages):
    def offer(command, note):
        note("Available versions: 1.4, 1.3, 1.2, 1.1, 1.0, 0.9\n")
        return 0

    monkeypatch.setattr(releases.list_releases, "__defaults__", (offer,))
    typed = ("--python-package", "planted-sd", "1.0", "..", "1.3")
    status, out, err = run(capsys, *typed, *SUBJECT, "--for", "image")
    assert status == 0, err
    assert out.splitlines()[0] == "first bad version: planted-sd 1.2"
    plan = "each version has an environment of its own, which is made when its turn comes: at most"
    assert f"{plan} 4 environments in " in " ".join(err.split())
    tests = (
        "at most 3 tests if none is skipped, and a comparison of the first bad version by itself"
    )
    assert tests in " ".join(err.split())
    report = Path("sdperf-bisect-planted-sd-1.2.md").read_text()
    assert "planted-sd 1.0 to 1.3" in report
    assert "--python-package 'planted-sd 1.0 .. 1.3'" in report
