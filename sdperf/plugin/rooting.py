"""Whether pytest took the value of an option for a test, and so another folder for its root."""

from __future__ import annotations

import inspect
import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sdperf.errors import ConfigurationError
from sdperf.shell import join_command


def check_root(config: pytest.Config) -> None:
    """Refuse a root folder that pytest would not have without the values of options.

    pytest chooses its root before it loads plugins. It does not know their options then, and takes
    each value that is a word of its own and an existing path for a test. So a file elsewhere moves
    the root, where baselines, saved runs and the names of the cases come from.

    Args:
        config: pytest's configuration, with all options.

    Raises:
        ConfigurationError: The root is another one because of such a value.
    """
    parameters, option = config.invocation_params, config.option
    folder, tests = Path(parameters.dir), option.file_or_dir
    typed = _read_words(map(os.fspath, parameters.args), folder)
    from_environment = _read_words(shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), folder)
    taken = [*_list_taken(from_environment, tests, folder), *_list_taken(typed, tests, folder)]
    if not taken:
        return
    meant = _find_root(option, folder)
    if meant == config.rootpath:
        return
    joined = ["=".join(pair) for pair in taken]
    in_environment = any(_list_taken(from_environment, tests, folder))
    raise ConfigurationError(
        "pytest took the value of an option for a test, and so another folder for its root, "
        "where baselines are looked for",
        got=f"{' '.join(map(' '.join, taken))}, and {config.rootpath} as the root",
        expected=f"{meant} as the root",
        hint=f"write it with = in PYTEST_ADDOPTS: {' '.join(joined)}"
        if in_environment
        else join_command(["pytest", *_join_values(typed, taken)]),
    )


def _find_root(option: Any, folder: Path) -> Path:
    """Return the root that pytest chooses where it knows all options.

    Args:
        option: pytest's parsed options.
        folder: The folder that pytest was called in.
    """
    from _pytest.config.findpaths import determine_setup

    given = {
        "inifile": option.inifilename,
        "override_ini": option.override_ini,
        "args": option.file_or_dir,
        "rootdir_cmd_arg": option.rootdir or None,
        "invocation_dir": folder,
    }
    known = inspect.signature(determine_setup).parameters  # pytest 8.4 takes no override_ini
    chosen: Any = {name: value for name, value in given.items() if name in known}
    root: Path = determine_setup(**chosen)[0]
    return root


def _read_words(words: Iterable[str], folder: Path) -> list[str]:
    """Return words with the lines of each ``@file`` in its place, as pytest has read them."""
    read: list[str] = []
    for word in words:
        if word.startswith("@"):
            lines = (folder / word[1:]).read_text().splitlines()
            read += _read_words(lines, folder)
        else:
            read.append(word)
    return read


def _list_taken(
    words: Sequence[str], tests: Sequence[str], folder: Path
) -> Iterator[tuple[str, str]]:
    """List the options with a value that exists as a path, and is no test, as a second word."""
    for option, value in itertools.pairwise(words):
        if option == "--":
            return
        is_pair = option.startswith("--") and "=" not in option and not value.startswith("-")
        path = folder / value.partition("::")[0]
        # Path.exists would raise for a value that is too long for a name.
        if is_pair and value not in tests and os.path.exists(path):  # noqa: PTH110
            yield option, value


def _join_values(words: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Write options and their values as one word each. Pure.

    >>> _join_values(["--junitxml", "../a.xml", "benchmarks"], [("--junitxml", "../a.xml")])
    ['--junitxml=../a.xml', 'benchmarks']
    """
    joined: list[str] = []
    for word in words:
        if joined and (joined[-1], word) in pairs:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined
