"""``--python-package mflux 0.20.0 .. 0.24.0``: all releases in between, as steps of a search."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

DOTS: Final = ".."


def join_range(arguments: argparse.Namespace) -> None:
    """Take the ends of a range that was typed without quotes from where revisions stand.

    Args:
        arguments: The command line; changed where it holds such a range.
    """
    ends, texts = arguments.ends, arguments.python_package
    if len(texts) == 1 and DOTS in ends:
        arguments.python_package = [" ".join([texts[0], *ends])]
        arguments.ends = []


def spell_steps(texts: Sequence[str], pip_options: Sequence[str]) -> list[str]:
    """Return the steps that were typed; a range is all its releases, the oldest first.

    Args:
        texts: Values of ``--python-package``.
        pip_options: Given to ``pip install``.

    Raises:
        PackageError: There are no releases in the range.
        ConfigurationError: The range cannot be read, or pip cannot list it.
    """
    if len(texts) != 1 or DOTS not in texts[0].split():
        return list(texts)
    from sdperf.sweep.releases import list_releases, parse_release_range

    asked = parse_release_range(texts[0], None, None)
    return [f"{asked.name}=={version}" for version in list_releases(asked, pip_options)]
