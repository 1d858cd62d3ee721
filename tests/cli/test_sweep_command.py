"""``sdperf sweep`` from the command line: real environments, worktrees and workers, no torch."""

import importlib.metadata
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import jsonschema
import pytest

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.cli import main
from sdperf.cli.shared import stepping
from sdperf.errors import PackageError
from sdperf.sweep import releases, sweeping
from sdperf.sweep.state import PairRecord, SweepState
from sdperf.sweep.sweeping import Sweep, SweepConclusion
from tests.ab.sides.test_environments import make_wheel, pretend_pip
from tests.support.ab_standin import PROGRAM
from tests.support.repositories import Repository

SUBJECT = ("--subject", "mine:make", "--guards", "off", "--pictures", "1")
VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")
SCHEMA = Path(__file__).parents[2] / "docs" / "sweep.schema.json"
PLAIN = "def make():\n    return {'seconds': 1.0}\n"
SLOW = "def make():\n    return {'seconds': 1.1}\n"
BROKEN = "import no_such_library\n"
BY_VERSION = """\
import planted_sd
VERSION = planted_sd.VERSION
if VERSION == "1.1":
    raise ImportError("planted-sd 1.1 does not import")


def make():
    return {"seconds": 1.1 if VERSION >= "1.3" else 1.0, "flat": VERSION >= "1.4"}
"""


@pytest.fixture(autouse=True)
def stand_in(staged_once, monkeypatch, tmp_path):
    """Workers without torch; afterwards nothing may be left behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield temporary
    assert list(temporary.iterdir()) == []


@pytest.fixture
def packages(monkeypatch, tmp_path, present):
    """A package index with five releases: 1.1 does not import, 1.2 does not install."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.py").write_text(BY_VERSION)
    monkeypatch.chdir(here)

    def install(command, note, held):
        if "planted-sd==1.2" in command:
            note("ERROR: Could not find a version that satisfies the requirement planted-sd==1.2 "
                 "(from versions: 1.0, 1.1)\n")  # fmt: skip
            return 1
        if "other-sd==2.1" in command:
            note("planted-sd 1.0 requires other-sd<2.1, but you have other-sd 2.1.\n")
        return pretend_pip(command, note, held)

    store = EnvironmentStore(tmp_path / "store", present, run=install)

    def open_store(pip_options, say):
        return replace(store, pip_options=tuple(pip_options), say=say)

    def list_releases(asked, pip_options):
        offered = {"planted-sd": VERSIONS, "other-sd": ("2.0", "2.1")}.get(asked.name)
        if offered is None:
            raise PackageError(f"the package index offers no {asked.name}")
        offered = releases.parse_offered(f"Available versions: {', '.join(offered)}")
        return releases.select_releases(asked, offered)

    monkeypatch.setattr(stepping, "open_store", open_store)
    monkeypatch.setattr(releases, "list_releases", list_releases)
    return here


@pytest.fixture
def repository(tmp_path, monkeypatch):
    found = Repository(tmp_path / "project")
    monkeypatch.chdir(found.folder)
    yield found
    assert found.git("worktree", "list").count("\n") == 0


def run(capsys, *arguments):
    status = main(["sweep", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_whole_curve_of_a_package_with_its_steps_and_what_cannot_be_measured(capsys, packages):
    written = ("--json", "s.json", "--markdown", "s.md", "--html", "s.html", "--figures", "drawn")
    status, out, err = run(capsys, "--python-package", "planted-sd", *SUBJECT, *written)
    assert status == 0, err
    assert out.splitlines()[0] == (
        "planted-sd 1.0 .. 1.4: 3 of 5 versions measured, every comparison was made"
    )
    assert "largest step in time: 1.0 -> 1.3: +10.0 % (" in out
    assert "% of the loss is in denoise" in " ".join(out.split())
    assert "1.1 cannot be measured: " in out
    assert "1.2 cannot be measured: there is no planted-sd==1.2" in " ".join(out.split())
    assert "pictures left the floors: 1.3 -> 1.4" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    document = json.loads(Path("s.json").read_text())
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    (curve,) = document["curves"]
    assert [point["state"] for point in curve["points"]] == [
        "measured", "failed", "failed", "measured", "measured",
    ]  # fmt: skip
    assert document["environment"]["packages"]
    page = Path("s.html").read_text()
    assert "1.0 -&gt; 1.3: +10.0 %" in page
    assert "<svg" in page
    assert "sdperf sweep --python-package &#39;planted-sd 1.0 .. 1.4&#39;" in page
    markdown = Path("s.md").read_text()
    assert "| 1.0 -> 1.3 | +10.0 % (" in markdown
    assert {path.suffix for path in Path("drawn").iterdir()} == {".svg", ".png", ".csv"}
    # asked again, it is answered without measuring, and the same is printed
    status, again, err = run(capsys, "--python-package", "planted-sd", *SUBJECT)
    assert (status, again) == (0, out)
    assert "loading" not in err
    # its JSON makes the same page later, but names no command to type
    assert main(["report", "--sweep", "s.json", "-o", "later.html"]) == 0
    later = Path("later.html").read_text()
    assert "1.0 -&gt; 1.3: +10.0 %" in later
    assert "To see it again" not in later
    # the history has it as a series over versions, once
    capsys.readouterr()
    assert main(["trend", "--sweep", "planted-sd"]) == 0
    series = capsys.readouterr().out
    assert series.splitlines()[0].startswith("planted-sd 1.0 .. 1.4, latency[")
    assert series.count("largest step in time: 1.0 -> 1.3: +10.0 % (") == 1
    assert "pictures left the floors: 1.3 -> 1.4" in series
    assert all(len(line) <= 100 for line in series.splitlines())
    assert main(["trend", "--sweep", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["series"]
    assert [one["state"] for one in found["curve"]["points"]] == [
        point["state"] for point in curve["points"]
    ]
    assert main(["trend", "--sweep", "torch"]) == 2
    assert "the history holds no such sweep" in capsys.readouterr().err


def test_a_plan_is_told_before_anything_is_installed(capsys, packages, tmp_path):
    asked = ("--python-package", "planted-sd 1.0 .. 1.3", "--every", "3", "--dense")
    status, out, err = run(capsys, *asked, *SUBJECT, "--dry-run")
    assert (status, out) == (0, "")
    told = " ".join(err.split())
    assert "planted-sd: 2 of 4 versions: 1.0, 1.3" in told
    assert "1 comparison: neighbours, and each with the anchor (the oldest that runs)" in told
    assert "up to 5 more between" in told
    assert "if an image takes 1 s: " in told
    assert not (packages / ".sdperf").exists()
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "first", "is_said"),
    [
        (("planted-sd",), "1.2", True),
        (("planted-sd .. 1.3",), "1.2", True),
        (("planted-sd", "--from", "1.1"), "1.1", False),
        (("planted-sd .. 1.1",), "1.0", False),
    ],
)
def test_a_range_that_is_left_open_begins_where_sdperf_does(
    capsys, packages, monkeypatch, words, first, is_said
):
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["Planted_SD<2,>=1.2", "torch"])
    status, _, err = run(capsys, "--python-package", *words, *SUBJECT, "--dry-run")
    assert status == 0
    told = " ".join(err.split())
    assert f" versions: {first}, " in told
    note = "the range begins at planted-sd 1.2, the oldest supported one; --from names"
    assert (note in told) == is_said


def test_a_budget_that_is_over_leaves_the_rest_for_the_next_time(capsys, packages, monkeypatch):
    asked = ("--python-package", "planted-sd", *SUBJECT)
    hours = itertools.chain([0.0, 0.0], itertools.count(3600.0, 3600.0))  # over once one has begun
    with monkeypatch.context() as patched:
        clocked = partial(sweeping.Sweep, clock=lambda: next(hours))
        patched.setattr(sweeping, "Sweep", clocked)
        status, out, err = run(capsys, *asked, "--budget", "1h")
    assert status == 1, err
    told = " ".join(out.split())
    assert "the time given is over, 5 comparisons left, kept for the next time" in told
    status, out, err = run(capsys, *asked)
    assert status == 0, err
    assert "3 of 5 versions measured" in out


def test_companions_are_installed_beside_every_version(capsys, packages, tmp_path):
    asked = ("--python-package", "planted-sd 1.3 ..", "--with", "other-sd==2.0", *SUBJECT)
    status, out, err = run(capsys, *asked, "--format", "json")
    assert status == 0, err
    assert json.loads(out)["question"]["companions"] == ["other-sd==2.0"]
    kept = [path.read_text() for path in (tmp_path / "store").glob("*/sdperf-environment.json")]
    assert len(kept) == 2
    assert all("other-sd==2.0" in one for one in kept)


RANGES = ("--python-package", "planted-sd 1.3 ..", "--python-package", "Other_SD")


def test_ranges_of_several_packages_are_swept_one_after_another(capsys, packages):
    """The other package is what --with says; conflicts are those that pip names."""
    fixed = ("--with", "planted-sd==1.0", "--with", "other-sd==1.9")
    written = ("--untimed", "--json", "s.json", "--figures", "drawn", "--history", "off")
    status, out, err = run(capsys, *RANGES, *fixed, *SUBJECT, *written)
    assert status == 0, err
    planted, other = (json.loads(Path(f"s-{one}-sd.json").read_text()) for one in NAMES)
    assert [point["name"] for point in planted["curves"][0]["points"]] == ["1.3", "1.4"]
    assert [point["name"] for point in other["curves"][0]["points"]] == ["2.0", "2.1"]
    assert planted["question"]["companions"] == ["other-sd==1.9"]
    assert other["question"]["companions"] == ["planted-sd==1.0"]
    assert planted["curves"][0]["steps"][0]["found"]["pictures"] == "broken"
    assert other["curves"][0]["steps"][0]["found"]["pictures"] == "equal"
    assert out.index("planted-sd 1.3 .. 1.4") < out.index("other-sd 2.0 .. 2.1")
    clash = "pip names a conflict with 2.1: planted-sd 1.0 requires other-sd<2.1, but you have"
    assert clash in " ".join(out.split())
    assert "with 2.0" not in out
    assert len(list(Path().glob("drawn*/**/*.svg"))) == 2


NAMES = ("planted", "other")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RANGES, "--python-package", "other-sd .. 3"), "a package has two ranges; got: other-sd"),
        ((*RANGES, "--from", "1.3"), "--from cannot hold for several packages"),
        ((*RANGES, "--anchor", "1.3"), "--anchor cannot hold for several packages"),
        ((*RANGES, "--format", "json"), "--format json cannot hold for several packages"),
        ((*RANGES, "--python-package", "no-such-sd"), "the package index offers no no-such-sd"),
        ((*RANGES, "--python-package", "other-sd==2.0"), "exact version"),
    ],
)
def test_what_several_packages_cannot_share_is_refused_before_any_is_measured(
    capsys, packages, arguments, words
):
    status, out, err = run(capsys, *arguments, *SUBJECT)
    assert (status, out) == (2, "")
    assert words in " ".join(err.split())
    assert "making an environment" not in err


def test_versions_given_one_by_one_may_be_of_several_packages(capsys, packages):
    steps = ("--python-package", "planted-sd==1.3 other-sd==1.0",
             "--python-package", "planted-sd==1.4 other-sd==2.0")  # fmt: skip
    status, out, err = run(capsys, *steps, *SUBJECT)
    assert status == 0, err
    assert out.startswith("other-sd and planted-sd other-sd 1.0, planted-sd 1.3 .. other-sd 2.0")
    assert all(len(line) <= 100 for line in out.splitlines())


def test_the_history_of_a_repository_with_a_commit_that_does_not_import(capsys, repository):
    for number, text in enumerate((PLAIN, BROKEN, SLOW, SLOW + "\n")):
        repository.commit(f"c{number}", text)
    first, broken, slow, last = (repository.hashes[f"c{number}"][:12] for number in range(4))
    status, out, err = run(capsys, "--commits", "main~3..main", *SUBJECT, "--format", "markdown")
    assert status == 0, err
    assert f"- largest step in time: {first} -> {slow}: " in out
    assert f"- {broken} cannot be measured: " in out
    assert f"- `{last}` Add c3" in out
    assert repository.git("status", "--short", "--untracked-files=no") == ""


def test_no_file_of_a_repository_says_which_folders_are_removed(
    capsys, repository, monkeypatch, tmp_path
):
    for number in range(2):
        repository.commit(f"c{number}", f"# {number}\n")
    foreign = tmp_path / "sdperf-mine" / "code"
    foreign.mkdir(parents=True)
    worktree = tmp_path / "worktree"
    repository.git("worktree", "add", "--detach", "--quiet", str(worktree))
    asked = []

    def measure_nothing(sweeping):
        asked.append(sweeping)
        return SweepConclusion("nothing", SweepState(sweeping.question, "2026-01-01T00:00:00Z"))

    monkeypatch.setattr(Sweep, "run", measure_nothing)
    words = ("--commits", "main~1..main", *SUBJECT)
    assert run(capsys, *words)[0] == 1
    assert repository.git("status", "--short") == "", "its own folder is left to git"
    key = asked[0].question.key()
    places = f"{foreign}\n{worktree}\n{foreign}\0\n"
    Path(f".sdperf/sweep/{key}.worktrees").write_text(places, encoding="utf-8")
    repository.git("add", "--force", ".sdperf")
    assert run(capsys, *words)[0] == 1
    assert foreign.is_dir()
    assert (worktree / "mine.py").is_file()
    repository.git("worktree", "remove", str(worktree))


@pytest.mark.parametrize("reason", ["", "the worker died"])
def test_a_comparison_that_could_not_be_made_shows_in_the_exit_status(
    capsys, packages, monkeypatch, reason
):
    def lose_one(sweeping):
        a, b, *_ = sweeping.question.plan.steps
        pairs = (PairRecord(a, b, "neighbour", reason=reason),)
        state = SweepState(sweeping.question, "2026-01-01T00:00:00Z", pairs)
        return SweepConclusion("done", state)

    monkeypatch.setattr(Sweep, "run", lose_one)
    status, out, err = run(capsys, "--python-package", "planted-sd", *SUBJECT)
    assert (status, err.count("Traceback")) == (1 if reason else 0, 0)
    assert ("1 comparison could not be made" in out) == bool(reason)


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
def test_a_sweep_that_was_ended_goes_on_where_it_was(
    capsys, repository, monkeypatch, tmp_path, stand_in, staged_once, name
):
    for number, text in enumerate((PLAIN, PLAIN + "\n", SLOW + KILL_ONCE.format(name=name))):
        repository.commit(f"c{number}", text)
    monkeypatch.setenv("KILLED_AT", str(tmp_path / "killed"))
    monkeypatch.setenv("TMPDIR", str(stand_in))
    asked = ("--commits", "main~2..main", *SUBJECT)
    killed = subprocess.run(
        [sys.executable, "-c", HEARS_INTERRUPTS + PROGRAM, "sweep", *asked],
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
    assert (tmp_path / "killed").exists(), killed.stderr
    if name == "SIGKILL":
        assert killed.returncode == -signal.SIGKILL
        assert repository.git("worktree", "list").count("\n") > 0, "nothing was left to clean"
    else:
        assert killed.returncode == 130, killed.stderr
        told = " ".join(killed.stdout.split())
        assert "interrupted, 2 comparisons left, kept for the next time" in told
    (state,) = Path(".sdperf/sweep").glob("*.json")
    (kept,) = json.loads(state.read_text())["pairs"]
    status, out, err = run(capsys, *asked)
    assert status == 0, err
    assert "going on after 1 comparison" in err
    assert "comparison 1:" not in err
    assert "largest step in time: " in out
    assert json.loads(state.read_text())["pairs"][0] == kept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "there is nothing to sweep; got: 0 --python-package and 0 --commits"),
        (("--python-package", "planted-sd", "--commits", "a..b"), "are two sweeps"),
        (("--python-package", "planted-sd 1.0"), "--python-package cannot be used"),
        (("--python-package", "planted-sd", "--from", "x"), "--from is no version; got: x"),
        (("--python-package", "planted-sd 2 .."), "no release lies in planted-sd 2 .."),
        (("--python-package", "planted-sd 1.4 .."), "in a range of one version; got: 1.4"),
        (("--python-package", "no-such"), "the package index offers no no-such"),
        (("--python-package", "planted-sd", "--anchor", "9"), "--anchor is none of the versions"),
        (("--python-package", "planted-sd", "--dense"), "--dense needs --every"),
        (("--python-package", "planted-sd", "--every", "0"), "--every cannot be used; got: 0"),
        (("--python-package", "planted-sd", "--budget", "8d"), "--budget cannot be used; got: 8d"),
        (("--python-package", "planted-sd", "--with", "a b c"), "--with cannot be used"),
        (("--python-package", "planted-sd", "--pip-option", "'"), "--pip-option cannot be used"),
        (("--python-package", "planted-sd", "--set", "precision=fp8"), "precision cannot be used"),
        (("--python-package", "planted-sd", "--cases", "speed"), "there is no such case"),
        (("--python-package", "planted-sd", "--json", "/no/such/x"), "--json cannot be written"),
        (("--json", "x", "--html", "../here/x"), "--json and --html are the same file"),
        (("--commits", "main"), "--commits cannot be used; got: main; expected: a range"),
        (("--python-package", "planted-sd", "--untimed", "--rounds", "2"), "--rounds goes with"),
        (
            ("--python-package", "planted-sd", "--untimed", "--max-slowdown", "5%"),
            "--max-slowdown goes with images that are timed; got: --untimed",
        ),
        (("--commits", "a..b", "--with", "torch"), "--with goes with packages only"),
        (("--commits", "a..b", "--from", "1"), "--from needs one --python-package"),
        (("--commits", "a..b"), "this folder lies in no git repository"),
    ],
)
def test_what_cannot_be_used_is_one_message(capsys, packages, arguments, words):
    status, out, err = run(capsys, *arguments, *SUBJECT)
    assert (status, out) == (2, "")
    message = " ".join(err.split())
    assert message.startswith("sdperf sweep: ")
    assert words in message
    assert "Traceback" not in err


def test_an_untimed_sweep_draws_and_times_nothing(capsys, packages):
    """Pictures are flat from 1.4 on, and images slower from 1.3 on."""
    asked = ("--python-package", "planted-sd", "--untimed", *SUBJECT, "--history", "off")
    status, out, err = run(capsys, *asked, "--format", "json")
    assert status == 0, err
    (curve,) = json.loads(out)["curves"]
    found = {step["after"]: step["found"] for step in curve["steps"]}
    assert {step["speed"] for step in found.values()} == {"open"}
    assert found["1.4"]["pictures"] == "broken"
    assert found["1.3"]["pictures"] in ("equal", "alike")
    assert json.loads(out)["command"].endswith(" --untimed")
    assert "null control" not in err
    status, table, err = run(capsys, *asked)
    assert status == 0, err
    rows = [line for line in table.splitlines() if "->" in line or line.startswith("  1.")]
    answers = [one for line in rows for one in re.findall(r"not timed|open|anchor|failed", line)]
    assert not (packages / ".sdperf" / "history.db").exists()
    assert answers == ["anchor", "failed", "failed", *["not timed"] * 4], table
    assert all(len(line) <= 100 for line in table.splitlines())
    # a history that is none costs the sweep nothing, and a good one has it when asked again
    (packages / "odd.db").write_bytes(b"no database at all" * 500)
    status, again, err = run(capsys, *asked[:-1], "odd.db")
    assert (status, again) == (0, table)
    assert "history: the versions were not kept: " in " ".join(err.split())
    assert run(capsys, *asked[:-1], "good.db")[:2] == (0, table)
    assert main(["trend", "--sweep", "--history", "good.db"]) == 0
    series = capsys.readouterr().out
    assert "no image was timed" in series
    assert " open " not in series
    assert "stopped after 0 blocks" not in out


def test_an_anchor_in_the_middle_is_opened_once_though_it_is_both_sides(capsys, packages):
    """Its environment is locked while it is open: a second lock of one's own would wait for it."""
    asked = ("--python-package", "planted-sd", "--anchor", "1.3", *SUBJECT)
    status, out, err = run(capsys, *asked, "--format", "json")
    assert status == 0, err
    pairs = json.loads(next(Path(".sdperf/sweep").glob("*.json")).read_text())["pairs"]
    assert [(one["a"][-3:], one["b"][-3:], one["role"]) for one in pairs] == [
        ("1.3", "1.0", "anchor"),
        ("1.0", "1.3", "neighbour"),
        ("1.3", "1.4", "neighbour"),
    ]
    (curve,) = json.loads(out)["curves"]
    assert curve["points"][0]["speed"] == "faster"
    assert "another process has it open" not in err


def test_the_anchor_that_was_named_has_to_run(capsys, packages):
    asked = ("--python-package", "planted-sd", "--anchor", "1.1", *SUBJECT)
    status, out, err = run(capsys, *asked)
    assert (status, out) == (2, "")
    assert "planted-sd 1.1" in err.splitlines()[-1]


def test_a_page_is_refused_before_anything_is_measured_where_nothing_can_draw(
    capsys, packages, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    asked = ("--python-package", "planted-sd", *SUBJECT, "--html", "s.html")
    status, _, err = run(capsys, *asked)
    assert status == 2
    assert "pip install 'sdperf[report]'" in err


@pytest.mark.long
def test_the_whole_story_with_pip_itself_and_the_embedded_pipeline(capsys, tmp_path, monkeypatch):
    """Wheels in a folder, an environment each, the real worker; ten times the UNet in 1.2."""
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for version in ("1.0", "1.1", "1.2"):
        requires = ("numpy<1",) if version == "1.1" else ()
        make_wheel(tmp_path, version, requires)
    (tmp_path / "mine.py").write_text(
        "import planted_sd\n"
        "def make(request):\n"
        "    pipeline = request.load()\n"
        "    forward = pipeline.unet.forward\n"
        "    def often(*arguments, **named):\n"
        "        for _ in range(9):\n"
        "            forward(*arguments, **named)\n"
        "        return forward(*arguments, **named)\n"
        "    if planted_sd.VERSION >= '1.2':\n"
        "        pipeline.unet.forward = often\n"
        "    return pipeline\n"
    )
    index = ("--pip-option=--no-index", f"--pip-option=--find-links={tmp_path}")
    settings = ("--set", "steps=2", "--subject", "mine:make", "--guards", "off", "--pictures", "1")
    settings += ("--rounds", "1", "--max-slowdown", "100%")  # short blocks, a step far beyond
    status, out, err = run(capsys, "--python-package", "planted-sd", *index, *settings)
    assert status == 0, err
    assert "2 of 3 versions measured" in out
    assert "1.1 cannot be measured: " in out
    assert "largest step in time: 1.0 -> 1.2: +" in out
    assert "pictures equal" in " ".join(out.split())
