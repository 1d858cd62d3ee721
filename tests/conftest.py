"""Tests that need a GPU or a server are skipped aloud: the summary counts them and says why."""

import contextlib
import gc
import os
from collections import Counter
from pathlib import Path

import pytest

import sdperf
from sdperf.device import select_device
from sdperf.errors import ConfigurationError
from tests.support.installed import find_fault
from tests.support.postgres import explain_absence

SKIPPED = pytest.StashKey[Counter]()

# `make bench` installs no hypothesis, and `pytest --help` reads this file all the same.
with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import HealthCheck, settings

    # hypothesis fails an example that takes more than 200 ms, which a busy machine brings about.
    settings.register_profile(
        "any-machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any-machine")


def pytest_configure(config):
    fault = find_fault(sdperf.__file__, os.environ)
    if fault is not None:
        raise pytest.UsageError(fault)


def pytest_report_header(config):
    return f"sdperf under test: {Path(sdperf.__file__).parent}"


def pytest_collection_modifyitems(config, items):
    config.stash[SKIPPED] = Counter()
    for kind in ("mps", "cuda"):
        marked = [item for item in items if item.get_closest_marker(kind)]
        if not marked:
            continue
        try:
            select_device(kind)
        except ConfigurationError as error:
            config.stash[SKIPPED][kind] = len(marked)
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=str(error)))
    marked = [item for item in items if item.get_closest_marker("postgres")]
    reason = explain_absence() if marked else None
    if reason is not None:
        config.stash[SKIPPED]["postgres"] = len(marked)
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish():
    """Search what collecting imported for cycles no more: it lives until the end.

    Each search of all of it took half a second.

    A session that a test runs inside this one does not read this file.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_gpu_unless_named(request, monkeypatch):
    """Let ``auto`` take the processor, so that a test tests the same on each machine.

    A session in a process of its own sees no CUDA device, and has to name ``--sd-device cpu`` where
    torch sees MPS.
    """
    if not any(request.node.get_closest_marker(kind) for kind in ("mps", "cuda")):
        monkeypatch.setattr("sdperf.device.AUTO", ("cpu",))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(autouse=True)
def nothing_around_inner_sessions(monkeypatch):
    """A session that a test runs sees neither the workers nor the CI server around this one.

    On a CI server pytest does not cut the lines of its short summary.
    """
    for name in ("PYTEST_XDIST_WORKER", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


def pytest_terminal_summary(terminalreporter):
    for kind, count in terminalreporter.config.stash.get(SKIPPED, Counter()).items():
        terminalreporter.write_line(
            f"NOT RUN HERE: {count} tests that need {kind}; nothing above speaks for {kind}",
            yellow=True,
        )
