"""The examples in docstrings of the package say what its functions return."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def list_modules():
    """Return the names of the modules that have examples."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "sdperf").rglob("*.py"))
        if ">>>" in path.read_text(encoding="utf-8")
    ]


def run_examples(module):
    """Return how many examples of a module fail, and how many it has."""
    return tuple(doctest.testmod(module))


@pytest.mark.parametrize("name", list_modules())
def test_examples_are_true(name):
    failed, tried = run_examples(importlib.import_module(name))
    assert failed == 0
    assert tried > 0


def test_a_wrong_example_is_found(tmp_path, monkeypatch):
    (tmp_path / "with_a_wrong_example.py").write_text('"""\n>>> 1 + 1\n3\n"""\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert run_examples(importlib.import_module("with_a_wrong_example")) == (1, 1)
