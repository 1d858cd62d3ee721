"""The pytest plugin: options, parametrisation, fixtures, gates. Imports no torch.

It is installed through the ``pytest11`` entry point and does nothing in sessions that use none of
its fixtures: hooks import what they need once a test or an option of sdperf is there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.errors import SdperfError
from sdperf.plugin.command_line import (
    add_options,
    check_compare_fail,
    check_swallowed_path,
    check_timing,
    find_fault,
    find_value,
    list_compare_fail,
    parse_compare_fail,
)
from sdperf.plugin.fixtures import (
    sd_benchmark,
    sd_engine,
    sd_gain,
    sd_mode,
    sd_optimisations,
    sd_precision,
    sd_quality,
    sd_suite,
    sd_threads,
    sd_variant,
    sd_workers,
)
from sdperf.plugin.keys import FIXTURES, KEY, is_ours
from sdperf.plugin.terminal import GuardedTerminal, guard_terminal, make_failure, tell_error
from sdperf.settings import BASELINES, OPTIONS, SWITCHES

if TYPE_CHECKING:
    from sdperf.plugin.live.session import LiveSession

__all__ = [
    "sd_benchmark",
    "sd_engine",
    "sd_gain",
    "sd_mode",
    "sd_optimisations",
    "sd_precision",
    "sd_quality",
    "sd_suite",
    "sd_threads",
    "sd_variant",
    "sd_workers",
]

_COMPARE_FAIL: Final[pytest.StashKey[list[list[str]]]] = pytest.StashKey()
_OUTPUT: Final[pytest.StashKey[GuardedTerminal | None]] = pytest.StashKey()
_PACKAGE: Final = Path(__file__).parents[1]
_SUITE_FOLDERS: Final = (_PACKAGE / "suite", _PACKAGE.parent / "benchmarks")
"""Folders that may hold the shipped suite: of a wheel, and of a checkout."""
_INI_FAULT: Final[pytest.StashKey[str]] = pytest.StashKey()
"""The error of an ini file's settings; it is raised once everything is collected."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register sdperf's options and the ini settings of the same names.

    Where standard output is closed, pytest itself would fail with a traceback. So it gets an output
    that is thrown away, and `pytest_configure` says why the session ends.
    """
    add_options(parser)
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def pytest_configure(config: pytest.Config) -> None:
    """Read the options before pytest-benchmark reads its own."""
    if sys.__stdout__ is None:
        raise pytest.UsageError(
            "standard output is closed, so that nobody would see a verdict; nothing was run; "
            "do: pytest > run.log"
        )
    config.addinivalue_line(
        "markers",
        "sd_matrix(*axes): spread a benchmark over these of precision, mode, workers, threads, "
        "engine and optimisations only; skips={'fp32': reason} skips a value of theirs",
    )
    config.addinivalue_line(
        "markers", 'sd(max_slowdown="3%"): a limit of its own for one benchmark of sdperf'
    )
    if config.option.pyargs:
        from sdperf.suite import find_suite

        config.args[:] = map(find_suite, config.args)
    try:
        if any(config.getoption(str(one)) is not None for one in (*OPTIONS, *SWITCHES)):
            from sdperf.plugin.live.session import session_of

            session_of(config)
        if config.pluginmanager.hasplugin("benchmark"):
            _read_host_options(config)
    except SdperfError as error:
        raise pytest.UsageError(tell_error(error)) from error


def _read_host_options(config: pytest.Config) -> None:
    """Check pytest-benchmark's options before it reads them, and take over what it lacks.

    Raises:
        ConfigurationError: The options cannot be meant so.
        RecordError: An accepted session is damaged.
    """
    option, has_baselines = config.option, False
    check_swallowed_path(option.benchmark_compare)
    baselines = Path(find_value(config, BASELINES)).expanduser()
    if option.benchmark_compare is True and (config.rootpath / baselines).is_dir():
        has_baselines = _take_over_accepted(config)
    given = config.stash.get(_COMPARE_FAIL, [])
    if len(given) > 1:
        option.benchmark_compare_fail = parse_compare_fail(given)
    check_compare_fail(option, has_baselines=has_baselines)


def _take_over_accepted(config: pytest.Config) -> bool:
    """Answer a bare ``--benchmark-compare`` by the accepted sessions, if there are any."""
    from sdperf.plugin.live.session import session_of
    from sdperf.store.baselines import BaselineStore

    live = session_of(config)
    store = BaselineStore(live.settings.baselines)
    if store.is_empty():
        return False
    store.check_images()
    live.asked.compares_with_accepted = True
    config.option.benchmark_compare = []
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Note every ``--benchmark-compare-fail``, since argparse would keep only the last one."""
    early_config.stash[_COMPARE_FAIL] = list_compare_fail(args)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_compare_machine_info(compared_benchmark: Any) -> None:
    """Refuse a run for which pytest-benchmark would raise a traceback."""
    fault = find_fault(compared_benchmark)
    if fault is not None:
        raise pytest.UsageError(f"the run to compare with cannot be used: {fault}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Show progress where pytest reports; a session survives the end of its output's reader."""
    session.config.stash[_OUTPUT] = guard_terminal(session.config.get_terminal_writer())
    live = session.config.stash.get(KEY, None)
    if live is not None:
        live.live_line.reporter = session.config.pluginmanager.get_plugin("terminalreporter")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a benchmark over the axes of the matrix, unless it does so itself."""
    if FIXTURES.isdisjoint(metafunc.fixturenames):
        return
    from sdperf.plugin.collecting import spread_over_matrix
    from sdperf.plugin.live.session import session_of

    config = metafunc.config
    if _INI_FAULT in config.stash:
        return
    try:
        session = session_of(config)
    except SdperfError as error:  # raised here, it would be the fault of one test file
        config.stash[_INI_FAULT] = tell_error(error)
        return
    spread_over_matrix(session, metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Give the cases of the installed suite the names that a copied folder would have.

    Their own path would name the environment, and no baseline would know it.
    """
    if module_path.parent not in _SUITE_FOLDERS:
        return None
    from sdperf.suite import FOLDER, list_suite_files

    if module_path not in list_suite_files():
        return None
    nodeid = f"{FOLDER}/{module_path.name}"
    module: pytest.Module = pytest.Module.from_parent(parent, path=module_path, nodeid=nodeid)
    return module


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put sdperf's cases in order, and stop where the ini settings cannot be used."""
    if _INI_FAULT in config.stash:
        raise pytest.UsageError(config.stash[_INI_FAULT])
    ours = [item for item in items if is_ours(item)]
    if ours:
        from sdperf.plugin.collecting import arrange
        from sdperf.plugin.live.session import session_of

        arrange(session_of(config), items, ours)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Plan for the remaining tests, in their order: ``-k`` has deselected the others."""
    ours = [item for item in session.items if is_ours(item)]
    if ours and _INI_FAULT not in session.config.stash:
        from sdperf.plugin.collecting import plan
        from sdperf.plugin.live.session import session_of

        plan(session_of(session.config), ours)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Find the model before anything is timed."""
    if session.config.option.collectonly:
        return
    live = session.config.stash.get(KEY, None)
    output = session.config.stash.get(_OUTPUT, None)
    if output is not None and not any(map(is_ours, session.items)):
        output.give_back()
    if live is None:
        return
    host = getattr(session.config, "_benchmarksession", None)
    if not any(map(is_ours, session.items)):
        if live.asked.compares_with_accepted and host is not None:
            host.compare = True  # no sdperf case: pytest-benchmark handles it
            host.handle_loading()
        return
    from sdperf.plugin.live.session import take_over_host
    from sdperf.plugin.opening import check_model_and_device, check_packages, open_session

    if output is not None:
        output.check()
    try:
        if any("benchmark" in getattr(item, "fixturenames", ()) for item in session.items):
            check_timing(session.config)
        if host is not None:
            take_over_host(live.asked, host)
        check_packages(live.settings, live.root)
        if not hasattr(session.config, "workerinput"):
            open_session(session.config, live, host)
        check_model_and_device(live.suites)
        if live.asked.compares_with_accepted or (host is not None and host.compare):
            from sdperf.plugin.ending.calibrated import check_typed_limits

            check_typed_limits(live, [item.nodeid for item in session.items if is_ours(item)])
    except SdperfError as error:
        raise pytest.UsageError(tell_error(error)) from error
    finally:
        live.live_line.wipe()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Count the last run of a case, where another plugin runs a failed test again."""
    live = item.config.stash.get(KEY, None)
    if live is not None and item.nodeid in live.log.reports:
        live.forget(item.nodeid, getattr(item.config, "_benchmarksession", None))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """End the session where its journal cannot be written any more; finished cases are kept."""
    live = item.config.stash.get(KEY, None)
    if live is not None and live.journal is not None and live.journal.complaint is not None:
        item.session.shouldstop = live.journal.complaint


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Measure a pipeline's first case again after its last one, before it is unloaded.

    A request to end (SIGTERM, a closed terminal) during an sdperf case is like Ctrl-C.
    """
    if not is_ours(item):
        return (yield)
    from sdperf.run.interruption import ended_like_interrupted

    with ended_like_interrupted():
        done = yield
        if not item.session.shouldstop:
            from sdperf.plugin.collecting import ends_pipeline

            if ends_pipeline(item, nextitem):
                session = item.config.stash[KEY]
                session.order.measure_first_again(session)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show errors that a user can act on as one message; put figures into a JUnit report."""
    if call.when == "call" and is_ours(item):
        from sdperf.plugin.properties import record_properties

        record_properties(item, item.config.stash[KEY].log.results)
    report = yield
    if not is_ours(item):
        return report
    log = item.config.stash[KEY].log
    fault = None if call.excinfo is None else call.excinfo.value
    if not isinstance(fault, SdperfError):
        log.note_report(report)
        return report
    text = f"{type(fault).__name__}: {fault}"
    report.longrepr = make_failure(item, text)
    log.note_report(report)
    first = log.first_with_fault.setdefault(text, item.nodeid)
    if first != item.nodeid:
        again = f"{type(fault).__name__}: {fault.what}; as in {first}"
        report.longrepr = make_failure(item, again)
    return report


@pytest.hookimpl(tryfirst=True, wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Judge, keep the evidence, and keep failed runs from being saved as baselines."""
    live = session.config.stash.get(KEY, None)
    if live is None:
        return (yield)
    try:
        if live.log.reports or _ended_before_a_case(session, live):
            from sdperf.plugin.ending.counted import count_failing, list_failing
            from sdperf.plugin.ending.finish import finish_session

            outcome = finish_session(session, live)
            is_strict = live.settings.strict
            failing = list_failing(outcome, live.log.reports, is_strict=is_strict)
            count_failing(session, failing)
    finally:
        live.suites.close()
    try:
        yield
    finally:
        if live.journal is not None:
            from sdperf.plugin.ending.finish import close_session

            close_session(session, live)
        live.release()
    output = session.config.stash.get(_OUTPUT, None)
    if output is not None and output.end() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def _ended_before_a_case(session: pytest.Session, live: LiveSession) -> bool:
    """Tell whether the user ended the session in its first case, which is then not saved."""
    return session.exitstatus == pytest.ExitCode.INTERRUPTED and bool(live.list_left_out())


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add to every saved run the outcome of each case, and the quality suite's observations."""
    live = config.stash.get(KEY, None)
    if live is not None and live.outcome is not None:
        from sdperf.plugin.ending.saving import list_quality_cases, summarise_run
        from sdperf.record.json import format_record
        from sdperf.store.quality import QUALITY_KEY, format_quality
        from sdperf.store.runs import RUN_KEY

        stored = live.stored
        stored.instant = stored.instant or datetime.now(UTC)  # equal runs: one hash in the history
        output_json["datetime"] = stored.instant.isoformat()
        output_json[RUN_KEY] = format_record(summarise_run(live, live.outcome))
        quality = list_quality_cases(live.quality.results)
        if quality:
            output_json[QUALITY_KEY] = format_quality(quality)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Remove the momentary clock frequency, which makes equal machines look different."""
    cpu = machine_info.get("cpu")
    if isinstance(cpu, dict):
        for key in ("hz_actual", "hz_actual_friendly"):
            cpu.pop(key, None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, what failed, and what to type next."""
    live = terminalreporter.config.stash.get(KEY, None)
    if live is not None and live.outcome is not None:
        from sdperf.plugin.ending.summary import print_summary

        print_summary(terminalreporter, live, live.outcome)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End all workers, in whatever way the session ended."""
    session = config.stash.get(KEY, None)
    if session is not None:
        session.suites.close()
        if session.lock is not None and session.journal is not None:
            # The session did not reach its end, for example because a pager closed its output.
            with contextlib.suppress(OSError):
                print(
                    "sdperf: the session ended early; what it finished is kept: sdperf resume",
                    file=sys.stderr,
                )
        session.release()
