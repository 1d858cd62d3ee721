"""What no test changes is asked once: installed versions, sdperf's own code, and the disk."""

import functools
import os
from pathlib import Path

import sdperf
from sdperf.measure.system import LIVE_SYSTEM, LiveSystem
from sdperf.store.code import hash_code

read_version = functools.cache(LIVE_SYSTEM.package_version)


def hash_what_tests_write(places):
    """Hash code without sdperf's own 600 files, which stay as they are."""
    return hash_code([place for place in places if place != Path(sdperf.__file__).parent])


def ask_once(monkeypatch, hashing):
    """Ask once for versions, never for sdperf's own files, and do not wait for the disk.

    Args:
        monkeypatch: Restores it all.
        hashing: The module whose `hash_code` the test calls.
    """
    monkeypatch.setattr(LiveSystem, "package_version", lambda _, name: read_version(name))
    monkeypatch.setattr(hashing, "hash_code", hash_what_tests_write)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no test loses the power
