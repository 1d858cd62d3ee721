"""The environment of this process, which other environments are made over."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Overlaid:
    """The environment below the others: that of this process, or of a program of the user's.

    Attributes:
        python: Its interpreter.
        folders: The folders of its packages, in order.
        packages: Hash of their names and versions.
        version: ``sys.version`` of its interpreter.
    """

    python: str
    folders: tuple[str, ...]
    packages: str
    version: str = sys.version


def describe_packages() -> dict[str, Any]:
    """Describe where the running interpreter finds packages, and which: fields of `Overlaid`.

    Its source is also run by interpreters of any version that have nothing of ours: it imports
    what it needs.
    """
    import hashlib
    import importlib.metadata
    import site
    import sys
    import sysconfig

    candidates = [*site.getsitepackages(), sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        candidates.insert(0, site.getusersitepackages())
    folders = list(dict.fromkeys(folder for folder in sys.path if folder in candidates))
    found = (one.metadata for one in importlib.metadata.distributions(path=folders))
    names = sorted(f"{told['Name']}=={told['Version']}" for told in found)
    packages = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return {"folders": folders, "packages": packages, "version": sys.version}


def read_present_environment() -> Overlaid:
    """Return the environment of this process."""
    return make_overlaid(sys.executable, describe_packages())


def make_overlaid(python: str, told: Mapping[str, Any]) -> Overlaid:
    """Return the environment of an interpreter that told what `describe_packages` returns.

    Raises:
        KeyError, TypeError: It told something else.
    """
    return Overlaid(python, tuple(told["folders"]), str(told["packages"]), str(told["version"]))
