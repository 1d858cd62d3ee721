"""Which packages of a question no part of sdperf needs: their versions would change nothing."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from sdperf.units import format_names

if TYPE_CHECKING:
    from sdperf.bisect.state import BisectQuestion
    from sdperf.sweep.state import SweepQuestion

_MOST_NAMES: Final = 6

ListRequirements = Callable[[str], Sequence[str] | None]
"""Requirements of an installed distribution by its name; ``None`` where it is not installed."""


def list_requirements(name: str) -> Sequence[str] | None:
    """Return what an installed distribution requires, optional requirements among them."""
    try:
        return importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return None


def find_oldest_needed(name: str, requires: ListRequirements = list_requirements) -> Version | None:
    """Return the oldest release of a package that sdperf's own requirements allow.

    >>> find_oldest_needed("diffusers", lambda _: ["diffusers<1,>=0.37", "torch>=2.6"])
    <Version('0.37')>

    Args:
        name: The package, as registries compare names.
        requires: Lists the requirements of an installed distribution.

    Returns:
        The release; ``None`` where sdperf asks for none, or is not installed.
    """
    found = [
        Version(one.version)
        for each in map(Requirement, requires("sdperf") or ())
        if canonicalize_name(each.name) == name
        for one in each.specifier
        if one.operator == ">="
    ]
    return min(found, default=None)


def warn_unused(
    question: BisectQuestion | SweepQuestion,
    steps: Sequence[str],
    requires: ListRequirements = list_requirements,
) -> Iterator[str]:
    """Say which of the packages under search nothing that is run here needs.

    Nothing is said where a subject or a program of the user runs, which may import anything, or
    where sdperf itself is not installed and its requirements are unknown.

    Args:
        question: The question.
        steps: Its steps.
        requires: Reads what a distribution requires.
    """
    from sdperf.bisect.programs import find_program

    if question.kind != "packages" or question.subject is not None:
        return
    if find_program(question.cases) is not None:
        return
    known = find_needed("sdperf", requires)
    if len(known) < 2:
        return
    words = (word for step in steps for word in step.split())
    asked = dict.fromkeys(canonicalize_name(Requirement(word).name) for word in words)
    unused = [name for name in asked if name not in known]
    if unused:
        yield (
            f"warning: {format_names(unused, _MOST_NAMES)} is required neither by "
            f"{question.workload.model} nor by sdperf: all versions will probably be equal; a "
            "pipeline of yours that uses it is named by --subject"
        )


def find_needed(root: str, requires: ListRequirements = list_requirements) -> frozenset[str]:
    """Return the canonical names of all that a distribution needs, itself among them.

    Optional requirements are among them: those of the root are followed, those of others are not.
    """
    needed, left = {root}, [root]
    optional = set()
    while left:
        name = left.pop()
        for requirement in map(Requirement, requires(name) or ()):
            other = canonicalize_name(requirement.name)
            if name != root and "extra" in str(requirement.marker):
                optional.add(other)
            elif other not in needed:
                needed.add(other)
                left.append(other)
    return frozenset(needed | optional)
