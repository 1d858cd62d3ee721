"""What is made once for all the tests of a session: stand-ins of workers, and where they run."""

import functools
import os
import sys
from pathlib import Path

import pytest

import sdperf
from sdperf.ab.sides.interpreters import examine_interpreter
from sdperf.ab.sides.present import read_present_environment
from sdperf.ab.turns import bench
from sdperf.measure.system import LIVE_SYSTEM, LiveSystem
from sdperf.store import code
from tests.support.ab_standin import forking_server_of_stage, stage, staged_once

__all__ = ["forking_server_of_stage", "present", "stage", "staged_once"]


@pytest.fixture(scope="session")
def present():
    """The environment of this process, which environments of packages lie over."""
    return read_present_environment()


examine_here = functools.cache(examine_interpreter)
read_version = functools.cache(LIVE_SYSTEM.package_version)
hash_code = code.hash_code


def hash_what_tests_write(places):
    """Hash code without sdperf's own 600 files."""
    return hash_code([place for place in places if place != Path(sdperf.__file__).parent])


@pytest.fixture(autouse=True)
def what_does_not_change(monkeypatch):
    """Ask once for the packages of this interpreter; no test changes them, or sdperf."""

    def examine(path, import_path=()):
        ask = examine_here if path == Path(sys.executable) else examine_interpreter
        return ask(path, import_path)

    monkeypatch.setattr(bench, "examine_interpreter", examine)
    monkeypatch.setattr(LiveSystem, "package_version", lambda _, name: read_version(name))
    monkeypatch.setattr(code, "hash_code", hash_what_tests_write)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test loses the power
