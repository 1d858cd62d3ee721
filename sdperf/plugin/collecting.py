"""Collection: spreads sdperf's tests over the matrix, orders them, gives them the virtual clock."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sdperf.engines.catalogue import AUTO, ENGINES, parse_engines
from sdperf.pipeline.optimisations.catalogue import DEFAULT, PLAIN
from sdperf.plugin.case_lines import show_case_lines
from sdperf.plugin.live.ahead import SOAKED, ExpectedWork, Plan, find_asked
from sdperf.plugin.live.session import LiveSession
from sdperf.plugin.options import Settings
from sdperf.record.workload import PRECISIONS, TORCH, Variant, name_engine
from sdperf.settings import MAX_SLOWDOWN

_QUALITY_FIXTURE: Final = "sd_quality"
_GAIN_FIXTURE: Final = "sd_gain"
_TIMED_FIXTURES: Final = frozenset({"sd_benchmark", _GAIN_FIXTURE})
_AXES: Final = ("precision", "mode", "workers", "threads", "engine", "optimisations")
_SUFFIXES: Final = {"sd_workers": "w", "sd_threads": "t"}


def spread_over_matrix(session: LiveSession, metafunc: pytest.Metafunc) -> None:
    """Spread an sdperf test over the axes of the matrix, unless it does so itself."""
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
    skips = {} if matrix is None else matrix.kwargs.get("skips", {})
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
            params = [
                pytest.param(value, marks=pytest.mark.skip(reason=skips[named]))
                if isinstance(named, str) and named in skips
                else value
                for named, value in zip(ids, values, strict=True)
            ]
            metafunc.parametrize(name, params, ids=ids, indirect=True)


def _choose_engines(metafunc: pytest.Metafunc, settings: Settings) -> tuple[str, ...]:
    """Spread over the requested engines; a gain about engines takes all others by default."""
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
    """Spread over the requested optimisations; by default, gains are of the device's default."""
    if settings.optimisations is not None:
        return settings.optimisations
    return ((DEFAULT,),) if _GAIN_FIXTURE in metafunc.fixturenames else ()


def _name_value(name: str, value: str | int | tuple[str, ...]) -> Any:
    if value == TORCH:  # a case keeps its name and its baselines, also beside other engines
        return pytest.HIDDEN_PARAM
    if isinstance(value, tuple):
        return "+".join(value) or PLAIN
    return f"{value}{_SUFFIXES[name]}" if isinstance(value, int) else name_engine(value)


def _parametrised_names(marker: pytest.Mark) -> list[str]:
    names = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
    return names.split(",") if isinstance(names, str) else list(names)


def arrange(session: LiveSession, items: list[pytest.Item], ours: list[pytest.Item]) -> None:
    """Give sdperf's cases the virtual clock, and put equal pipelines together: one load each.

    Args:
        session: The sdperf session.
        items: All tests, put in order in place.
        ours: The sdperf tests among them, put in order in place.
    """
    own_ids = set(map(id, ours))
    for item in ours:
        marker = item.get_closest_marker("benchmark")
        named = dict(marker.kwargs) if marker else {}
        named["timer"] = session.clock.now
        item.add_marker(pytest.mark.benchmark(**named), append=False)
        _read_own_limit(session, item)
    ours.sort(key=_pipeline_rank)
    in_order = iter(ours)
    items[:] = [next(in_order) if id(item) in own_ids else item for item in items]


def plan(session: LiveSession, ours: list[pytest.Item]) -> None:
    """Plan for sdperf's remaining cases after deselection, and show a line for each.

    Args:
        session: The sdperf session.
        ours: sdperf's cases, in the order in which they run.
    """
    session.suites.plan = Plan(
        [
            ExpectedWork(
                item.nodeid,
                _read_variant(item),
                not _is_quality(item),
                _is_gain(item),
                find_asked(getattr(getattr(item, "function", None), "__code__", None)),
                is_skipped=_is_skipped(session.settings, item),
            )
            for item in ours
        ]
    )
    show_case_lines(ours[0].config, session.live_line, ours)


def _is_skipped(settings: Settings, item: pytest.Item) -> bool:
    """Tell whether a case is skipped on any machine: by its mark, or as a soak nobody asked for."""
    if item.get_closest_marker("skip") is not None:
        return True
    asks = find_asked(getattr(getattr(item, "function", None), "__code__", None))
    if asks == SOAKED:
        return settings.soak_s is None
    return _is_gain(item) and settings.optimisations is None and asks == {"throughput"}


def _read_own_limit(session: LiveSession, item: pytest.Item) -> None:
    marker = item.get_closest_marker("sd")
    if marker is None:
        return
    try:
        if marker.args or set(marker.kwargs) != {"max_slowdown"}:
            raise ValueError("only max_slowdown")
        session.asked.limits[item.nodeid] = MAX_SLOWDOWN.parse(str(marker.kwargs["max_slowdown"]))
    except ValueError as error:
        raise pytest.UsageError(
            f"{item.nodeid}: the marker sd cannot be used; got: {marker.args or marker.kwargs}; "
            f'expected: sd(max_slowdown="3%"), {error}'
        ) from error


def ends_pipeline(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Tell whether a case is timed and no timed case of its pipeline follows directly.

    Args:
        item: An sdperf case.
        following: The next test; ``None`` after the last one.
    """
    if _is_quality(item):
        return False
    if following is None or not _is_timed(following):
        return True
    return _read_variant(following).pipeline != _read_variant(item).pipeline


def _is_timed(item: pytest.Item) -> bool:
    return not _TIMED_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _is_quality(item: pytest.Item) -> bool:
    return _QUALITY_FIXTURE in getattr(item, "fixturenames", ())


def _is_gain(item: pytest.Item) -> bool:
    return _GAIN_FIXTURE in getattr(item, "fixturenames", ())


def _pipeline_rank(item: pytest.Item) -> tuple[int, int, str, tuple[str, ...], bool]:
    """Order by precision, engine, optimisations; then quality, which uses existing images.

    The quality suite never asks about optimised pipelines, so it comes before their cases.
    """
    variant = _read_variant(item)
    precision, engine = variant.precision, variant.engine
    engines = list(ENGINES)  # external programs come last
    rank = engines.index(engine) if engine in ENGINES else len(engines)
    return PRECISIONS.index(precision), rank, engine, variant.optimisations, _is_quality(item)


def _read_variant(item: pytest.Item) -> Variant:
    """Return the cell of the matrix that a test was spread to, without what it sets itself."""
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    precision = params.get("sd_precision")
    workers, threads = params.get("sd_workers", 1), params.get("sd_threads")
    return Variant(
        precision if precision in PRECISIONS else "fp32",
        mode="async" if params.get("sd_mode") == "async" else "sync",
        workers=workers if isinstance(workers, int) else 1,
        optimisations=params.get("sd_optimisations", ()),
        engine=params.get("sd_engine", TORCH),
        threads=threads if isinstance(threads, int) else None,
    )
