"""Prints the lowest versions that pyproject.toml promises, as constraints for pip.

    python -m tools.lowest_versions dev nvidia > oldest.txt

A lower bound is a promise; ``make test-oldest`` keeps it. Only direct requirements are held down:
what they require in turn is chosen by pip. torch is left out: the Makefile installs it first.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement

LEFT_OUT = frozenset({"torch"})
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def list_lowest(project: dict, extras: Iterable[str]) -> list[str]:
    """Return ``name==version`` for each requirement of this system that has a lower bound.

    Args:
        project: The table ``project`` of pyproject.toml.
        extras: Whose requirements come on top.

    Returns:
        Sorted, without those of `LEFT_OUT`; of several bounds the highest counts.
    """
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    lowest: dict[str, str] = {}
    for requirement in map(Requirement, texts):
        if requirement.name in LEFT_OUT:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        for bound in requirement.specifier:
            known = lowest.get(requirement.name, "0")
            if bound.operator == ">=" and _key(bound.version) > _key(known):
                lowest[requirement.name] = bound.version
    return [f"{name}=={version}" for name, version in sorted(lowest.items())]


def _key(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


if __name__ == "__main__":
    with PROJECT.open("rb") as file:
        print("\n".join(list_lowest(tomllib.load(file)["project"], sys.argv[1:])))
