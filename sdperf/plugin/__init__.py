"""The pytest plugin: options, parametrisation, fixtures, gates. Imports no torch.

Installed through the ``pytest11`` entry point, it stays out of the way of sessions that use none
of its fixtures.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import pytest

from sdperf.errors import SdperfError
from sdperf.plugin.fixtures import (
    sd_benchmark,
    sd_mode,
    sd_precision,
    sd_suite,
    sd_variant,
    sd_workers,
)
from sdperf.plugin.options import add_options, read_settings
from sdperf.plugin.progress import LiveLine
from sdperf.plugin.session import KEY, SdSession
from sdperf.workload import PRECISIONS

__all__ = [
    "sd_benchmark",
    "sd_mode",
    "sd_precision",
    "sd_suite",
    "sd_variant",
    "sd_workers",
]

_FIXTURE: Final = "sd_benchmark"
"""The fixture that makes a test one of ours."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register ``--sd-*`` and the ini settings of the same names."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options before pytest-benchmark reads its own."""
    config.addinivalue_line(
        "markers",
        "sd_matrix(*axes): spread a benchmark over these of precision, mode, workers only",
    )
    try:
        settings = read_settings(config)
    except SdperfError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[KEY] = SdSession(settings, LiveLine())


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show progress where pytest reports."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    session.config.stash[KEY].live_line.reporter = reporter


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a benchmark over precision, mode and workers, unless it does so itself."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    session = metafunc.config.stash[KEY]
    own = {
        name.strip()
        for marker in metafunc.definition.iter_markers("parametrize")
        for name in _parametrised_names(marker)
    }
    if "sd_variant" in own:
        return
    settings = session.settings
    matrix = metafunc.definition.get_closest_marker("sd_matrix")
    axes = ("precision", "mode", "workers") if matrix is None else matrix.args
    for name, values in (
        ("sd_precision", settings.precisions),
        ("sd_mode", settings.modes),
        ("sd_workers", settings.workers),
    ):
        if name not in own and name.removeprefix("sd_") in axes:
            ids = [f"{value}w" if name == "sd_workers" else str(value) for value in values]
            metafunc.parametrize(name, values, ids=ids, indirect=True)


def _parametrised_names(marker: pytest.Mark) -> list[str]:
    names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
    return names.split(",") if isinstance(names, str) else list(names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give our cases the virtual clock, and put equal precisions together: one load each."""
    session = config.stash[KEY]
    ours = [item for item in items if _is_ours(item)]
    for item in ours:
        marker = item.get_closest_marker("benchmark")
        named = dict(marker.kwargs) if marker else {}
        named["timer"] = session.clock.now
        item.add_marker(pytest.mark.benchmark(**named), append=False)
    in_order = iter(sorted(ours, key=_precision_rank))
    items[:] = [next(in_order) if _is_ours(item) else item for item in items]


def _is_ours(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())


def _precision_rank(item: pytest.Item) -> int:
    callspec = getattr(item, "callspec", None)
    precision = callspec.params.get("sd_precision") if callspec is not None else None
    return PRECISIONS.index(precision) if precision in PRECISIONS else 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Find the model before anything is timed."""
    if session.config.option.collectonly or not any(map(_is_ours, session.items)):
        return
    try:
        session.config.stash[KEY].resolve_model()
    except SdperfError as error:
        raise pytest.UsageError(str(error)) from error
    finally:
        session.config.stash[KEY].live_line.wipe()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show errors that a user can act on as one message, without a traceback."""
    report = yield
    if not _is_ours(item):
        return report
    if call.excinfo is not None and isinstance(call.excinfo.value, SdperfError):
        report.longrepr = f"{type(call.excinfo.value).__name__}: {call.excinfo.value}"
    item.config.stash[KEY].note_report(report)
    return report


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Judge, keep the evidence, and let nothing that failed be saved as a baseline."""
    ours = session.config.stash[KEY]
    ours.close()
    if ours.reports:
        from sdperf.plugin.finish import finish_session

        finish_session(session, ours)
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Drop the momentary clock frequency, which makes equal machines look different."""
    cpu = machine_info.get("cpu")
    if isinstance(cpu, dict):
        for key in ("hz_actual", "hz_actual_friendly"):
            cpu.pop(key, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, what failed, and what to type next."""
    ours = terminalreporter.config.stash[KEY]
    if ours.reports:
        from sdperf.plugin.finish import print_summary

        print_summary(terminalreporter, ours)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ended."""
    session = config.stash.get(KEY, None)
    if session is not None:
        session.close()
