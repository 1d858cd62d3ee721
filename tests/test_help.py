"""Every ``--help`` there is, at two widths: the first thing that a newcomer types."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdperf.cli import make_parser
from sdperf.plugin.command_line import add_options
from sdperf.record.verdict import Outcome
from sdperf.settings import OPTIONS, STRICT, SWITCHES, WORKERS

WIDTHS = (60, 100)
WITHOUT_HYPOTHESIS = """
import sys

class Hiding:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "hypothesis":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hiding())
import pytest
raise SystemExit(pytest.main(["-p", "no:hypothesispytest", "--help"]))
"""


def list_parsers(parser):
    """Return a parser and all below it, each as the words that lead to it and the parser."""
    found = [(parser.prog, parser)]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += list_parsers(below)
    return found


PARSERS = dict(list_parsers(make_parser()))


def run_help(*words, columns):
    return subprocess.run(
        [sys.executable, "-m", *words, "--help"],
        env=os.environ | {"COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_actions_of_commands_are_among_the_parsers():
    assert {"sdperf", "sdperf ab", "sdperf history import", "sdperf baseline accept"} <= set(
        PARSERS
    )


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", PARSERS)
def test_every_command_and_action_prints_its_help(name, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = PARSERS[name].format_help()
    assert shown.startswith(f"usage: {name}")
    assert "%%" not in shown
    assert max(map(len, shown.splitlines())) <= 100  # texts laid out by hand stay as they are


@pytest.mark.parametrize("columns", WIDTHS)
def test_pytest_prints_its_help_with_the_plugin(columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_help("pytest", "-p", "no:cacheprovider", columns=columns)
    assert done.returncode == 0, done.stderr
    for option in (*OPTIONS, *SWITCHES):
        assert f"  {option}" in done.stdout
        assert f"  {option.ini} (" in done.stdout
    assert "auto is 3%" in " ".join(done.stdout.split())
    assert "%%" not in done.stdout


def test_the_package_prints_its_help_as_a_module():
    done = run_help("sdperf", columns=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: sdperf ")


def test_seconds_per_image_of_several_workers_are_explained_where_they_are_asked_for():
    root = Path(__file__).parents[1]
    assert "s/image is a round's time over its images" in WORKERS.help
    for page, words in (
        ("README.md", "the time of a round divided by its images"),
        ("docs/verdicts.md", "the time of a round divided by its images"),
        ("docs/glossary.md", "the time of a round divided by the workers"),
    ):
        assert words in " ".join((root / page).read_text("utf-8").split()), page


def test_a_percent_sign_in_an_options_help_is_shown_as_it_is_written():
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    for group in parser._groups:
        for option in group.options:
            text = option.attrs()["help"]
            assert "%" not in text.replace("%%", ""), option.names()


def test_pytest_prints_its_help_in_the_clone_without_what_only_tests_need(monkeypatch):
    """`make bench` installs no hypothesis, and pytest reads the tests' conftest all the same."""
    monkeypatch.chdir(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HYPOTHESIS],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--sd-steps" in done.stdout


def find_open(text):
    """Return the outcomes that a text names after ``--strict``, in the order of `Outcome`."""
    told = " ".join(text.partition("--strict")[2].partition(")")[0].partition("|")[0].split())
    return [one for one in Outcome if one.value in told]


def test_all_that_describe_strict_name_the_answers_that_it_fails():
    is_open = [one for one in Outcome if one.is_open]
    assert find_open(f"--strict {STRICT.help}") == is_open
    epilog = PARSERS["sdperf ab"].epilog
    assert find_open(epilog[epilog.index("exit status") :]) == is_open
    docs = Path(__file__).parents[1] / "docs"
    rows = [
        line
        for page in ("ab.md", "verdicts.md")
        for line in (docs / page).read_text().splitlines()
        if "with `--strict` also" in line and "INCON" in line
    ]
    assert len(rows) == 3
    assert all(find_open(row) == is_open for row in rows)
