"""The page about MPS: every module and every test that it names is there."""

import ast
import functools
import re
from pathlib import Path

import pytest

import sdperf

ROOT = Path(__file__).parents[1]
PACKAGE = Path(sdperf.__file__).parent
PAGE = ROOT / "docs" / "mps.md"
FEWEST_ROWS = 70


@functools.cache
def names_in(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def locate(owner):
    """Find a file that the page names; the package's wherever it is installed."""
    room, _, rest = owner.partition("/")
    return PACKAGE / rest if room == "sdperf" else ROOT / owner


def read_rows(text):
    """Read the rows of tables of three columns: trap, module, test."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] not in ("trap", "---"):
            rows.append(cells)
    return rows


def find_faults(trap, module, test):
    faults = []
    owners = re.findall(r"`((?:sdperf|docs)/[\w./-]+|pyproject\.toml)`", module)
    if not owners and "*left*" not in module and not module.startswith("not used"):
        faults.append("no owner")
    faults += [f"{owner} is not there" for owner in owners if not locate(owner).exists()]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", test)
    if not tests:
        faults.append("no test")
    for path, name in tests:
        if not (ROOT / path).is_file() or name not in names_in(path):
            faults.append(f"{path}::{name} is not there")
    return faults


@pytest.mark.parametrize(
    "row", read_rows(PAGE.read_text(encoding="utf-8")), ids=lambda row: row[0][:40]
)
def test_every_trap_has_an_owner_and_a_test_that_exist(row):
    assert find_faults(*row) == []


def test_no_row_is_lost():
    assert len(read_rows(PAGE.read_text(encoding="utf-8"))) >= FEWEST_ROWS


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("| a | nobody | `tests/images/test_png.py::test_x` |", "no owner"),
        (
            "| a | `sdperf/gone.py` | `tests/images/test_png.py::test_x` |",
            "sdperf/gone.py is not there",
        ),
        ("| a | `sdperf/images/png.py` | later |", "no test"),
        (
            "| a | `sdperf/images/png.py` | `tests/images/test_png.py::test_gone` |",
            "test_gone is not there",
        ),
        (
            "| a | `sdperf/images/png.py` | `tests/test_gone.py::test_x` |",
            "test_gone.py::test_x is not",
        ),
    ],
)
def test_a_row_that_names_what_is_not_there_is_seen(row, fault):
    ((trap, module, test),) = read_rows(row)
    assert any(fault in found for found in find_faults(trap, module, test))
