"""The versions that decide what a conversion comes out as."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
import sys
from pathlib import Path

from sdperf.engines.catalogue import EngineChoice, find_version, list_versions

_CONVERTERS = ("torch", "diffusers", "transformers")


def collect_versions(choice: EngineChoice) -> dict[str, str]:
    """Return versions of the engine, of what exports to it, of the machine, and of our own code.

    Equal versions convert alike. ``code`` is a digest of the engine's own modules and of the parts,
    so that a change of the conversion makes conversions again without anybody's doing.
    """
    others = {name: version for name in _CONVERTERS if (version := find_version(name)) is not None}
    return {
        **list_versions(choice),
        **others,
        "machine": f"{sys.platform}-{platform.machine()}",
        "code": _digest_code(choice.module),
    }


@functools.cache
def _digest_code(module: str) -> str:
    spec = importlib.util.find_spec(module)
    files = [Path(__file__).with_name("parts.py")]
    if spec is not None and spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            files += sorted(Path(folder).glob("*.py"))
    elif spec is not None and spec.origin is not None:
        files.append(Path(spec.origin))
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + file.read_bytes())
    return total.hexdigest()[:16]
