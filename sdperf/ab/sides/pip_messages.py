"""Turns pip's output into one clear error. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sdperf.errors import ConfigurationError, PackageError, SdperfError
from sdperf.units import shorten

_NETWORK: Final = re.compile(
    r"Failed to establish a new connection|Temporary failure in name resolution"
    r"|nodename nor servname|Name or service not known|getaddrinfo failed|Network is unreachable"
    r"|ConnectTimeoutError|ReadTimeoutError|Read timed out|Connection refused|Connection reset"
    r"|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED|Max retries exceeded",
    re.IGNORECASE,
)
_FULL_DISK: Final = re.compile(
    r"No space left on device|\[Errno 28\]|Disk quota exceeded", re.IGNORECASE
)
_NO_VERSION: Final = re.compile(
    r"Could not find a version that satisfies the requirement (?P<wanted>.+?)"
    r" \(from versions: (?P<offered>[^)]*)\)"
)
_CONFLICT: Final = re.compile(r"ResolutionImpossible|conflicting dependencies")
_NO_PIP: Final = re.compile(r"No module named pip\b")
_OFFERED_AT_MOST: Final = 6
_LONGEST_REASON: Final = 300


def explain_pip_failure(output: str, requirements: Sequence[str], log: str) -> SdperfError:
    """Return one error that says why an installation failed.

    Args:
        output: Everything that pip printed.
        requirements: The packages to install.
        log: The file with all of pip's output.

    Returns:
        `PackageError` where these versions can never be installed here. `ConfigurationError` where
        there was another obstacle (no network, no room, no pip), so that trying again may help.
    """
    wanted = " ".join(requirements)
    refused = _NO_VERSION.search(output)
    offered = [] if refused is None else _list_offered(refused["offered"])
    if _FULL_DISK.search(output):
        return ConfigurationError(
            f"there is no room to install {wanted}",
            got=_find_line(output, _FULL_DISK),
            hint="sdperf bisect --clean-environments, or point XDG_CACHE_HOME and TMPDIR to a "
            "larger disk",
        )
    if _NETWORK.search(output) and not offered:
        return ConfigurationError(
            f"{wanted} cannot be downloaded",
            got=_find_line(output, _NETWORK),
            hint="check the network and pip's index (pip config list), then ask again: what was "
            "measured so far is kept",
        )
    if _NO_PIP.search(output):
        return ConfigurationError(
            "the environment has no pip to install with",
            got=_find_line(output, _NO_PIP),
            hint="python -m pip install pip, in the environment that sdperf runs in",
        )
    if refused is not None:
        newest = ", ".join(offered[-_OFFERED_AT_MOST:]) or "none at all"
        return PackageError(
            f"there is no {refused['wanted'].strip()} for this machine and this Python",
            got=f"the newest versions on offer: {newest}",
            hint="name versions that exist; --pip-option '--index-url URL' names another index",
        )
    if _CONFLICT.search(output):
        return PackageError(
            f"{wanted} cannot be installed together",
            got=_find_line(output, re.compile(r"depends on|requested|requires")),
            hint=f"name the packages that have to move along in the same step; all that pip said: "
            f"{log}",
        )
    return PackageError(
        f"{wanted} cannot be installed",
        got=_find_last_error(output),
        hint=f"all that pip said: {log}",
    )


def find_conflicts(output: str) -> tuple[str, ...]:
    """Return pip's notes on packages that no longer fit each other after an installation."""
    found = re.findall(r"^(\S+ \S+ requires .+?, but you have .+?)\.?$", output, re.MULTILINE)
    return tuple(dict.fromkeys(re.sub(r" which is incompatible$", "", line) for line in found))


def _list_offered(text: str) -> list[str]:
    versions = [version.strip() for version in text.split(",")]
    return [version for version in versions if version and version != "none"]


def _find_line(output: str, pattern: re.Pattern[str]) -> str | None:
    lines = [line.strip() for line in output.splitlines() if pattern.search(line)]
    return _shorten(lines[-1]) if lines else None


def _find_last_error(output: str) -> str | None:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "error:"))]
    return _shorten((errors or lines)[-1]) if lines else None


def _shorten(line: str) -> str:
    line = re.sub(r"^(ERROR|WARNING): ", "", line)
    return shorten(line, _LONGEST_REASON)
