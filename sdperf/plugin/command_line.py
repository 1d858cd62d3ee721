"""pytest's command line: sdperf's options, refused combinations, and the words to repeat it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.errors import ConfigurationError
from sdperf.settings import (
    BASELINES,
    DEVICE,
    DURATIONS,
    HTML,
    IN_PROCESS,
    MARKDOWN,
    OPTIONS,
    PROCESSES,
    PROMPTS,
    RESUME,
    SWITCHES,
    TRACE,
)
from sdperf.settings.kinds import AUTO, Setting

if TYPE_CHECKING:
    from sdperf.judging.settling import Typed

OLDEST_HOST: Final = (5, 3, 1)
"""The oldest usable pytest-benchmark; older versions keep ``--benchmark-json`` open, and a run
would be lost at its end."""

NOT_REPEATED: Final = (PROCESSES, TRACE, HTML, MARKDOWN, IN_PROCESS, DURATIONS, RESUME)
"""Options for the place of a result, and options that a suggested command sets itself."""

COMPARE_FAIL: Final = "--benchmark-compare-fail"
STATS: Final = frozenset({"min", "max", "mean", "stddev", "median", "iqr", "rounds", "outliers"})
"""Figures of a case that pytest-benchmark's table and checks read."""


def add_options(parser: pytest.Parser) -> None:
    """Register the options of pytest and the ini settings of the same names."""
    group = parser.getgroup("sdperf", "Stable Diffusion benchmarks (sdperf)")
    for setting in OPTIONS:
        shown = escape_help(setting.help)
        metavar = "LIST" if setting.is_list else setting.metavar
        group.addoption(str(setting), metavar=metavar, default=None, help=shown)
        parser.addini(setting.ini, f"default of {setting}", default=setting.default)
    for setting in SWITCHES:
        shown = escape_help(setting.help)
        group.addoption(str(setting), action="store_true", default=None, help=shown)
        parser.addini(setting.ini, f"default of {setting}", type="bool", default=False)


def find_value(config: pytest.Config, setting: Setting[Any]) -> Any:
    """Return what was typed for a setting, else its ini setting, else its default; unchecked."""
    given = config.getoption(str(setting))
    return config.getini(setting.ini) if given is None else given


def escape_help(text: str) -> str:
    """Double each ``%``, since argparse reads it as the beginning of a placeholder. Pure.

    >>> escape_help("3%, and up to 25%")
    '3%%, and up to 25%%'
    """
    return text.replace("%", "%%")


def list_compare_fail(arguments: Sequence[str]) -> list[list[str]]:
    """Return the expressions of each ``--benchmark-compare-fail`` in a command line. Pure.

    >>> list_compare_fail(["--benchmark-compare-fail=min:5%", "-x", COMPARE_FAIL, "mean:1%", "-q"])
    [['min:5%'], ['mean:1%']]
    """
    found: list[list[str]] = []
    rest: Iterator[str] = iter(arguments)
    taking = False
    for argument in rest:
        if argument == "--":
            break
        if argument == COMPARE_FAIL:
            found.append([])
            taking = True
        elif argument.startswith(f"{COMPARE_FAIL}="):
            found.append([argument.partition("=")[2]])
            taking = False
        elif argument.startswith("-"):
            taking = False
        elif taking:
            found[-1].append(argument)
    return found


def check_host_version(version: str) -> None:
    """Refuse an old pytest-benchmark before anything is measured, in case pip did not.

    Args:
        version: Version of pytest-benchmark.

    Raises:
        ConfigurationError: The version is too old.
    """
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < OLDEST_HOST:
        oldest = ".".join(map(str, OLDEST_HOST))
        from sdperf.shell import join_command

        raise ConfigurationError(
            "this pytest-benchmark is too old for sdperf",
            got=version,
            expected=f"{oldest} or newer",
            hint=join_command(["pip", "install", f"pytest-benchmark>={oldest}"]),
        )


def check_timing(config: pytest.Config) -> None:
    """Refuse a session whose cases would not be timed by pytest-benchmark.

    Raises:
        ConfigurationError: pytest-benchmark is switched off, or pytest-codspeed replaces it.
    """
    manager = config.pluginmanager
    if not manager.hasplugin("benchmark"):
        raise ConfigurationError(
            "sdperf's cases are timed through pytest-benchmark, which is switched off",
            got="-p no:benchmark",
            hint="leave that out, here and in addopts",
        )
    if getattr(manager.get_plugin("codspeed_plugin"), "is_codspeed_enabled", False):
        raise ConfigurationError(
            "sdperf's cases are timed through pytest-benchmark, whose place pytest-codspeed takes",
            got="--codspeed" if config.getoption("--codspeed", None) else "CODSPEED_ENV",
            hint="run them in a pytest session of their own, without it",
        )


def check_swallowed_path(compare: object) -> None:
    """Refuse ``pytest --benchmark-compare benchmarks``, where the path became the run's name.

    Raises:
        ConfigurationError: The run to compare with is a folder or a test file.
    """
    if not isinstance(compare, str):
        return
    if not compare.strip():
        raise ConfigurationError(
            "--benchmark-compare= names no run",
            got="nothing behind the sign",
            expected="a saved run, or --benchmark-compare alone",
            hint="pytest --benchmark-compare",
        )
    path = Path(compare.partition("::")[0])
    if path.is_dir() or (path.suffix == ".py" and path.exists()):
        from sdperf.shell import join_command

        raise ConfigurationError(
            "--benchmark-compare took the path of your tests for a run to compare with",
            got=repr(compare),
            expected="a saved run, or nothing after it",
            hint=join_command(["pytest", compare, "--benchmark-compare"]),
        )


def check_compare_fail(option: Any, *, has_baselines: bool) -> None:
    """Refuse a ``--benchmark-compare-fail`` that could never fail.

    Args:
        option: pytest's parsed options.
        has_baselines: Whether a bare ``--benchmark-compare`` has accepted sessions to use.

    Raises:
        ConfigurationError: Nothing is compared, or nothing is timed.
    """
    if not option.benchmark_compare_fail:
        return
    if option.benchmark_disable and not option.benchmark_enable:
        raise ConfigurationError(
            f"{COMPARE_FAIL} judges times, and --benchmark-disable takes none",
            hint="leave one of them out",
        )
    if not option.benchmark_compare and not has_baselines:
        raise ConfigurationError(
            f"{COMPARE_FAIL} has nothing to compare with",
            expected="--benchmark-compare beside it",
            hint="add --benchmark-compare",
        )


def parse_compare_fail(given: Sequence[Sequence[str]]) -> list[Any]:
    """Parse all expressions of a command line that names the option more than once."""
    from pytest_benchmark import utils

    parse: Callable[[str], Any] = utils.parse_compare_fail
    return [parse(text) for texts in given for text in texts]


def find_fault(document: Any) -> str | None:
    """Say why pytest-benchmark could not compare with a saved run; ``None`` when it can. Pure.

    Args:
        document: The JSON of the run.
    """
    if not isinstance(document, dict) or not isinstance(document.get("machine_info"), dict):
        return "it has no machine_info"
    benchmarks = document.get("benchmarks")
    if not isinstance(benchmarks, list):
        return "it has no list of benchmarks"
    for saved in benchmarks:
        if not isinstance(saved, dict) or not isinstance(saved.get("fullname"), str):
            return "it has a benchmark without a name"
        stats = saved.get("stats")
        lacking = sorted(STATS - set(stats)) if isinstance(stats, dict) else ["all"]
        if lacking:
            return f"{saved['fullname']} lacks the stats {', '.join(lacking)}"
    return None


def read_typed(config: pytest.Config) -> Typed:
    """Read how a session was started, without ini settings, which are always read again."""
    from sdperf.judging.settling import Typed

    prompts, device = find_value(config, PROMPTS), find_value(config, DEVICE)
    baselines = find_value(config, BASELINES)
    return Typed(
        options=tuple(_list_words(config)),
        prompts=None if prompts == AUTO else prompts,
        device=None if device == AUTO else device,
        baselines=None if baselines == BASELINES.default else baselines,
    )


def _list_words(config: pytest.Config) -> Iterator[str]:
    for text in config.getoption("override_ini") or ():
        if text.startswith("sd_"):
            yield from ("-o", text)
    for setting in OPTIONS:
        given = config.getoption(str(setting))
        if given is not None and setting not in NOT_REPEATED:
            yield f"{setting}={given}"
    for setting in SWITCHES:
        if config.getoption(str(setting)) and setting not in NOT_REPEATED:
            yield str(setting)
    compare = config.getoption("benchmark_compare", None)
    if isinstance(compare, str):
        yield f"--benchmark-compare={compare}"
