"""Printing for all commands: colour on terminals only, and checks of output files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sdperf.errors import ConfigurationError
from sdperf.outputs import Output, check_outputs, list_temporary_folders
from sdperf.report.text.lines import Line, format_ansi
from sdperf.streams import strip_controls


def wants_colour() -> bool:
    """Whether standard output is a terminal, and ``NO_COLOR`` is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines, in colour on request."""
    has_colour = wants_colour()
    for line in lines:
        print(format_ansi(line) if has_colour else line.text)


def print_texts(texts: Iterable[str]) -> None:
    """Print lines with words from files, each on one line and without control characters."""
    for text in texts:
        print(strip_controls(text))


def check_output_file(
    option: str,
    path: Path | None,
    least_free_bytes: int | None = None,
    undone: str = "nothing was measured",
) -> None:
    """Refuse a file that could not be written, before a command does its work.

    Args:
        option: The option of the file.
        path: The file; ``None`` where none is asked for.
        least_free_bytes: Free bytes that its disk needs; ``None`` for those that a session needs.
        undone: What the command has not done, for the message.

    Raises:
        ConfigurationError: The path is a folder, its folder does not exist or cannot be written, or
            the disk is full.
    """
    if path is None:
        return
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise ConfigurationError(
            f"{option} cannot be written", got=str(path), expected="a file in a folder"
        )
    check_outputs([Output(option, path.absolute())], least_free_bytes, undone)


def check_output_files(files: Mapping[str, Path | None]) -> None:
    """Refuse files that could not be written, or would overwrite each other.

    Args:
        files: By the options that they were typed behind; ``None`` where none is asked for.

    Raises:
        ConfigurationError: One could not be written, or two are the same file.
    """
    for option, path in files.items():
        check_output_file(option, path)
    refuse_same_files(files)


def refuse_same_files(files: Mapping[str, Path | None]) -> None:
    """Refuse files that would overwrite each other.

    Args:
        files: By the options that they were typed behind; ``None`` where none is asked for.

    Raises:
        ConfigurationError: Two are the same file.
    """
    seen: list[tuple[str, Path]] = []
    for option, path in files.items():
        if path is None or (path.exists() and not path.is_file()):
            continue  # a device or a pipe may take several outputs
        for other, before in seen:
            if _is_same_file(before, path):
                raise ConfigurationError(
                    f"{other} and {option} are the same file",
                    got=str(path),
                    expected="a file for each",
                )
        seen.append((option, path))


def _is_same_file(a: Path, b: Path) -> bool:
    """Tell whether two paths lead to the same file, which need not exist."""
    return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))


def check_temporary_folder() -> None:
    """Refuse a folder of temporary files that could not be written.

    Raises:
        ConfigurationError: ``TMPDIR`` names one that cannot be written, or its disk is full.
    """
    check_outputs(list_temporary_folders())
