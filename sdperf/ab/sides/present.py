"""The environment of this process, which other environments are made over."""

from __future__ import annotations

import hashlib
import importlib.metadata
import site
import sys
import sysconfig
from dataclasses import dataclass


@dataclass(frozen=True)
class Overlaid:
    """The environment below the others: that of this process.

    Attributes:
        python: Its interpreter.
        folders: The folders of its packages, in order.
        packages: Hash of their names and versions.
    """

    python: str
    folders: tuple[str, ...]
    packages: str


def read_present_environment() -> Overlaid:
    """Return the environment of this process."""
    candidates = [*site.getsitepackages(), sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        candidates.insert(0, site.getusersitepackages())
    folders = [folder for folder in sys.path if folder in candidates]
    names = sorted(
        f"{found.name}=={found.version}" for found in importlib.metadata.distributions(path=folders)
    )
    packages = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return Overlaid(sys.executable, tuple(dict.fromkeys(folders)), packages)
