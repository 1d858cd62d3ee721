"""What is made once for all the tests of a session: stand-ins of workers, and where they run."""

import functools
import shutil
import sys
from pathlib import Path

import pytest

from sdperf.ab.sides import environments
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


@pytest.fixture(scope="session")
def empty_environments(tmp_path_factory):
    """Virtual environments without packages, made once to be copied; by what lies below them."""
    folder = tmp_path_factory.mktemp("environments")
    make_empty, made = environments.EnvironmentStore._make_empty, {}

    def copy_empty(store, wanted, lock):
        key = (store.below.python, tuple(store.below.folders))
        if key not in made:
            make_empty(store, folder / str(len(made)), lock)
            made[key] = folder / str(len(made))
        shutil.copytree(made[key], wanted, symlinks=True, dirs_exist_ok=True)

    return copy_empty


@pytest.fixture(autouse=True)
def copied_environments(empty_environments, monkeypatch):
    """Copy an empty environment: making one takes a process and a tenth of a second."""
    monkeypatch.setattr(environments.EnvironmentStore, "_make_empty", empty_environments)


@pytest.fixture(autouse=True)
def what_does_not_change(monkeypatch):
    """Ask once for the packages of this interpreter; no test changes them, or sdperf."""

    def examine(path, import_path=()):
        ask = examine_here if path == Path(sys.executable) else examine_interpreter
        return ask(path, import_path)

    monkeypatch.setattr(bench, "examine_interpreter", examine)
    ask_once(monkeypatch, code)
