"""What is made once for all the tests of a session: stand-ins of workers, and where they run."""

import functools
import sys
from pathlib import Path

import pytest

from sdperf.ab.sides.interpreters import examine_interpreter
from sdperf.ab.sides.present import read_present_environment
from sdperf.ab.turns import bench
from sdperf.store import code
from tests.support.ab_standin import forking_server_of_stage, stage, staged_once
from tests.support.unchanging import ask_once

__all__ = ["forking_server_of_stage", "present", "stage", "staged_once"]


@pytest.fixture(scope="session")
def present():
    """The environment of this process, which environments of packages lie over."""
    return read_present_environment()


examine_here = functools.cache(examine_interpreter)


@pytest.fixture(autouse=True)
def what_does_not_change(monkeypatch):
    """Ask once for the packages of this interpreter; no test changes them, or sdperf."""

    def examine(path, import_path=()):
        ask = examine_here if path == Path(sys.executable) else examine_interpreter
        return ask(path, import_path)

    monkeypatch.setattr(bench, "examine_interpreter", examine)
    ask_once(monkeypatch, code)
