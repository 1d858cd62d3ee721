"""The pytest plugin: options, parametrisation, fixtures, gates. Imports no torch.

Installed through the ``pytest11`` entry point, it stays out of the way of sessions that use none
of its fixtures.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from sdperf.engines.catalogue import AUTO, ENGINES, parse_engines
from sdperf.errors import SdperfError
from sdperf.pipeline.optimisations.catalogue import DEFAULT, PLAIN
from sdperf.plugin.ahead import Plan, Wanted
from sdperf.plugin.command_line import (
    check_compare_fail,
    check_swallowed_path,
    find_fault,
    list_compare_fail,
    parse_compare_fail,
)
from sdperf.plugin.counted import Retraction, count_failing
from sdperf.plugin.fixtures import (
    sd_benchmark,
    sd_engine,
    sd_mode,
    sd_optimisations,
    sd_precision,
    sd_suite,
    sd_threads,
    sd_variant,
    sd_workers,
)
from sdperf.plugin.gain import sd_gain
from sdperf.plugin.options import Settings, add_options, parse_percent, read_settings
from sdperf.plugin.progress import LiveLine
from sdperf.plugin.quality import sd_quality
from sdperf.plugin.session import KEY, SdSession, take_over_host
from sdperf.plugin.terminal import GuardedTerminal, guard_terminal
from sdperf.workload import PRECISIONS, TORCH, Variant

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
_QUALITY_FIXTURE: Final = "sd_quality"
_GAIN_FIXTURE: Final = "sd_gain"
_AXES: Final = ("precision", "mode", "workers", "threads", "engine", "optimisations")
_SUFFIXES: Final = {"sd_workers": "w", "sd_threads": "t"}
_FIXTURES: Final = frozenset({"sd_benchmark", _GAIN_FIXTURE, _QUALITY_FIXTURE})
"""The fixtures that make a test one of ours."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register ``--sd-*`` and the ini settings of the same names."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options before pytest-benchmark reads its own."""
    config.addinivalue_line(
        "markers",
        "sd_matrix(*axes): spread a benchmark over these of precision, mode, workers, threads, "
        "engine and optimisations only",
    )
    config.addinivalue_line(
        "markers", 'sd(max_slowdown="3%"): a limit of its own for one benchmark of sdperf'
    )
    try:
        settings = read_settings(config)
        config.stash[KEY] = SdSession(settings, LiveLine(), root=config.rootpath)
        config.pluginmanager.register(Retraction(config))
        if config.pluginmanager.hasplugin("benchmark"):
            _read_host_options(config)
    except SdperfError as error:
        raise pytest.UsageError(str(error)) from error


def _read_host_options(config: pytest.Config) -> None:
    """Check pytest-benchmark's options before it reads them, and take over what it cannot do.

    Raises:
        ConfigurationError: They cannot be meant.
        RecordError: An accepted session is damaged.
    """
    from sdperf.store.baselines import BaselineStore

    ours, option = config.stash[KEY], config.option
    check_swallowed_path(option.benchmark_compare)
    store = BaselineStore(ours.settings.baselines)
    if option.benchmark_compare is True and not store.is_empty():
        store.check_images()
        ours.compares_with_accepted = True
        option.benchmark_compare = []
    given = config.stash.get(_COMPARE_FAIL, [])
    if len(given) > 1:
        option.benchmark_compare_fail = parse_compare_fail(given)
    check_compare_fail(option, has_baselines=ours.compares_with_accepted)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Note every ``--benchmark-compare-fail``: argparse would keep the last one only."""
    early_config.stash[_COMPARE_FAIL] = list_compare_fail(args)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_compare_machine_info(compared_benchmark: Any) -> None:
    """Refuse a run that pytest-benchmark would stumble over with a traceback."""
    fault = find_fault(compared_benchmark)
    if fault is not None:
        raise pytest.UsageError(f"the run to compare with cannot be used: {fault}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Show progress where pytest reports; a reader that goes away loses no session of ours."""
    session.config.stash[_OUTPUT] = guard_terminal(session.config.get_terminal_writer())
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    session.config.stash[KEY].live_line.reporter = reporter


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a benchmark over the axes of the matrix, unless it does so itself."""
    if not _FIXTURES & set(metafunc.fixturenames):
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
    axes = _AXES if matrix is None else matrix.args
    if _QUALITY_FIXTURE in metafunc.fixturenames:
        axes = ("precision", "engine")
    for name, values in (
        ("sd_precision", settings.precisions),
        ("sd_mode", settings.modes),
        ("sd_workers", settings.workers),
        ("sd_threads", settings.threads),
        ("sd_engine", _choose_engines(metafunc, settings)),
        ("sd_optimisations", _choose_optimisations(metafunc, settings)),
    ):
        if values and name not in own and name.removeprefix("sd_") in axes:
            ids = [_name_value(name, value) for value in values]
            metafunc.parametrize(name, values, ids=ids, indirect=True)


def _choose_engines(metafunc: pytest.Metafunc, settings: Settings) -> tuple[str, ...]:
    """Spread over what was asked for; a gain that is about engines takes all others unasked."""
    if settings.engines != (TORCH,):
        return settings.engines
    matrix = metafunc.definition.get_closest_marker("sd_matrix")
    is_about_engines = matrix is not None and "engine" in matrix.args
    if is_about_engines and _GAIN_FIXTURE in metafunc.fixturenames:
        return tuple(name for name in parse_engines(AUTO) if name != TORCH)
    return ()


def _choose_optimisations(
    metafunc: pytest.Metafunc, settings: Settings
) -> tuple[tuple[str, ...], ...]:
    """Spread over what was asked for; unasked, gains are of the device's default."""
    if settings.optimisations is not None:
        return settings.optimisations
    return ((DEFAULT,),) if _GAIN_FIXTURE in metafunc.fixturenames else ()


def _name_value(name: str, value: str | int | tuple[str, ...]) -> Any:
    if value == TORCH:  # a case keeps its name, and with it its baselines, beside other engines
        return pytest.HIDDEN_PARAM
    if isinstance(value, tuple):
        return "+".join(value) or PLAIN
    return f"{value}{_SUFFIXES[name]}" if isinstance(value, int) else value


def _parametrised_names(marker: pytest.Mark) -> list[str]:
    names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
    return names.split(",") if isinstance(names, str) else list(names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give our cases the virtual clock, and put equal pipelines together: one load each."""
    session = config.stash[KEY]
    ours = [item for item in items if _is_ours(item)]
    for item in ours:
        marker = item.get_closest_marker("benchmark")
        named = dict(marker.kwargs) if marker else {}
        named["timer"] = session.clock.now
        item.add_marker(pytest.mark.benchmark(**named), append=False)
        _read_own_limit(session, item)
    ours.sort(key=_pipeline_rank)
    session.plan = Plan(
        [
            Wanted(item.nodeid, _read_variant(item), not _is_quality(item), _is_gain(item))
            for item in ours
        ]
    )
    in_order = iter(ours)
    items[:] = [next(in_order) if _is_ours(item) else item for item in items]


def _read_own_limit(session: SdSession, item: pytest.Item) -> None:
    marker = item.get_closest_marker("sd")
    if marker is None:
        return
    try:
        if marker.args or set(marker.kwargs) != {"max_slowdown"}:
            raise ValueError("only max_slowdown")
        session.limits[item.nodeid] = parse_percent(str(marker.kwargs["max_slowdown"]))
    except ValueError as error:
        raise pytest.UsageError(
            f"{item.nodeid}: the marker sd cannot be used; got: {marker.args or marker.kwargs}; "
            f'expected: sd(max_slowdown="3%"), {error}'
        ) from error


def _is_ours(item: pytest.Item) -> bool:
    return bool(_FIXTURES & set(getattr(item, "fixturenames", ())))


def _is_quality(item: pytest.Item) -> bool:
    return _QUALITY_FIXTURE in getattr(item, "fixturenames", ())


def _is_gain(item: pytest.Item) -> bool:
    return _GAIN_FIXTURE in getattr(item, "fixturenames", ())


def _pipeline_rank(item: pytest.Item) -> tuple[int, int, tuple[str, ...], bool]:
    """Order by precision, engine, optimisations; then quality, which takes what images there are.

    The quality of what is optimised is asked nowhere, so that it comes before such cases.
    """
    variant = _read_variant(item)
    precision, engine = variant.precision, variant.engine
    rank = PRECISIONS.index(precision), list(ENGINES).index(engine)
    return *rank, variant.optimisations, _is_quality(item)


def _read_variant(item: pytest.Item) -> Variant:
    """Return the cell of the matrix that a test was spread to; what it sets itself is not seen."""
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    precision = params.get("sd_precision")
    workers, threads = params.get("sd_workers", 1), params.get("sd_threads")
    return Variant(
        precision if precision in PRECISIONS else "fp32",
        workers=workers if isinstance(workers, int) else 1,
        optimisations=params.get("sd_optimisations", ()),
        engine=params.get("sd_engine", TORCH),
        threads=threads if isinstance(threads, int) else None,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Find the model before anything is timed."""
    if session.config.option.collectonly:
        return
    ours = session.config.stash[KEY]
    host = getattr(session.config, "_benchmarksession", None)
    output = session.config.stash.get(_OUTPUT, None)
    if not any(map(_is_ours, session.items)):
        if output is not None:
            output.give_back()
        if ours.compares_with_accepted and host is not None:
            host.compare = True  # no case of ours: what it meant to pytest-benchmark
            host.handle_loading()
        return
    if output is not None:
        output.check()
    try:
        if host is not None:
            take_over_host(ours, host)
        ours.resolve_model()
        if ours.settings.cluster is not None:
            ours.suite()
        if ours.compares_with_accepted or (host is not None and host.compare):
            from sdperf.plugin.calibrated import check_typed_limits

            check_typed_limits(ours, [item.nodeid for item in session.items if _is_ours(item)])
    except SdperfError as error:
        raise pytest.UsageError(str(error)) from error
    finally:
        ours.live_line.wipe()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show errors that a user can act on as one message; put figures into a JUnit report."""
    if call.when == "call" and _is_ours(item):
        from sdperf.plugin.properties import record_properties

        record_properties(item, item.config.stash[KEY])
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
    try:
        if ours.reports:
            from sdperf.plugin.finish import finish_session

            finish_session(session, ours)
            count_failing(session, ours)
    finally:
        ours.close()
    yield
    output = session.config.stash.get(_OUTPUT, None)
    if output is not None and output.end() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Say in every saved run what became of each of its cases, and what the quality suite saw."""
    ours = config.stash[KEY]
    if ours.reports:
        from sdperf.codec import format_record
        from sdperf.plugin.saving import list_quality_cases, summarise_run
        from sdperf.store.quality import QUALITY_KEY, format_quality
        from sdperf.store.runs import RUN_KEY

        ours.instant = ours.instant or datetime.now(UTC)  # equal runs: one hash in the history
        output_json["datetime"] = ours.instant.isoformat()
        output_json[RUN_KEY] = format_record(summarise_run(ours))
        quality = list_quality_cases(ours)
        if quality:
            output_json[QUALITY_KEY] = format_quality(quality)


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
        from sdperf.plugin.summary import print_summary

        print_summary(terminalreporter, ours)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no worker behind, however the session ended."""
    session = config.stash.get(KEY, None)
    if session is not None:
        session.close()
