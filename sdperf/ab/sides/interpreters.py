"""Reads an interpreter's version and packages without importing the packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.run.hosts.interpreter import Launch
from sdperf.shell import join_command

OLDEST_PYTHON: Final = (3, 11)
NEEDED: Final = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")
"""Packages that a worker imports, as registries name them."""

TELLING: Final = ("torch", "diffusers", "transformers", "tokenizers", "numpy", "accelerate")
"""Packages that people look for first, in this order."""

_TIMEOUT_S: Final = 60.0
_SCRIPT: Final = """
import sys
sys.path.pop(0)
import json, importlib.metadata as metadata
found = {}
for one in metadata.distributions():
    told = one.metadata
    if told["Name"]:
        found.setdefault(told["Name"], told["Version"])
sys.stdout.write(json.dumps({"version": list(sys.version_info[:3]), "packages": found}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run workers.

    Attributes:
        path: Its path, which is never stored.
        version: Its version, such as ``3.11.7``.
        packages: Version of every distribution by its normalised name.
    """

    path: Path
    version: str
    packages: Mapping[str, str]


@dataclass(frozen=True)
class PackageDifference:
    """A package whose versions differ between two interpreters; ``None`` is not installed."""

    name: str
    a: str | None
    b: str | None


def examine_interpreter(path: Path, import_path: tuple[str, ...] = ()) -> Interpreter:
    """Ask an interpreter for its version and packages.

    Args:
        path: The interpreter.
        import_path: Folders that the side's worker searches before its own.

    Raises:
        ConfigurationError: It is not a Python, is too old, or lacks packages that a worker needs.
    """
    hint = "--python takes the path of an interpreter, such as OLD_VENV/bin/python"
    try:
        done = subprocess.run(
            [str(path), "-c", _SCRIPT],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=Launch(path, import_path).environment(os.environ),
        )
    except OSError as error:
        raise ConfigurationError(
            "the interpreter cannot be started", got=f"{path}: {error.strerror}", hint=hint
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            "the interpreter does not answer", got=f"{path}: nothing in {_TIMEOUT_S:g} s", hint=hint
        ) from error
    try:
        answer = json.loads(done.stdout)
        version, packages = tuple(map(int, answer["version"])), dict(answer["packages"])
    except (ValueError, KeyError, TypeError) as error:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise ConfigurationError(
            f"{path} is no Python",
            got=words[0][:200] if words else f"exit code {done.returncode}",
            hint=hint,
        ) from error
    found = Interpreter(
        path,
        ".".join(map(str, version)),
        {normalise_name(name): str(one) for name, one in sorted(packages.items())},
    )
    if version[:2] < OLDEST_PYTHON:
        raise ConfigurationError(
            f"{path} is too old", got=f"Python {found.version}", expected="Python 3.11 or newer"
        )
    missing = [name for name in NEEDED if name not in found.packages]
    if missing:
        raise ConfigurationError(
            f"{path} cannot run a pipeline",
            got=f"no {', '.join(missing)}",
            expected="torch, diffusers and transformers (sdperf itself is not needed there)",
            hint=join_command([str(path), "-m", "pip", "install", *missing]),
        )
    return found


def compare_packages(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[PackageDifference, ...]:
    """List the packages that differ, the telling ones first. Pure."""
    names = [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
    order = {name: rank for rank, name in enumerate(TELLING)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return tuple(PackageDifference(name, a.get(name), b.get(name)) for name in names)


def label_interpreters(interpreters: Sequence[Interpreter]) -> tuple[str, ...]:
    """Name interpreters by their difference: a package's version, Python's version, or a number.

    Their paths are not used, since they would end up in stored results.

    Args:
        interpreters: The two interpreters.
    """
    a, b = interpreters
    for name in TELLING:
        versions = [one.packages.get(name) for one in (a, b)]
        if versions[0] != versions[1]:
            return tuple(f"{name} {version or 'missing'}" for version in versions)
    if a.version != b.version:
        return f"Python {a.version}", f"Python {b.version}"
    return "interpreter 1", "interpreter 2"


def normalise_name(name: str) -> str:
    """Spell a distribution's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
