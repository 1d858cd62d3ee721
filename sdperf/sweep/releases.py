"""Which releases of a package there are: pip asks the index; the rest is pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from sdperf.ab.sides.environments import RunProgram, run_aloud
from sdperf.ab.sides.pip_messages import explain_pip_failure
from sdperf.errors import ConfigurationError, PackageError
from sdperf.shell import join_command

_EXAMPLE: Final = "sdperf sweep --python-package 'onnxruntime 1.22 ..'"
_EXPECTED: Final = "a package, or a package and its ends, such as 'onnxruntime 1.22 .. 1.25'"
_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RANGE: Final = re.compile(rf"(?P<name>{_NAME})(?:\s+(?P<first>\S*?)\s*\.\.\s*(?P<last>\S*))?")
_OFFERED: Final = re.compile(r"^Available versions: (?P<versions>.+)$", re.MULTILINE)
_NO_MATCH: Final = re.compile(r"No matching distribution found")
_MOST_SHOWN: Final = 6

_WITH_VALUE: Final = (
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links"),
    *("--trusted-host", "--proxy", "--timeout", "--retries", "--cert", "--client-cert"),
    *("--no-binary", "--only-binary", "--cache-dir"),
)
_ALONE: Final = ("--no-index", "--pre", "--isolated")
"""Those options of ``pip install`` that decide where pip looks: ``pip index`` takes them too."""


@dataclass(frozen=True)
class ReleaseRange:
    """Which releases are asked for.

    Attributes:
        name: The package, as registries compare names.
        first: The oldest release; ``None`` is the oldest on offer.
        last: The newest; ``None`` is the newest on offer. ``2.9`` takes 2.9.1 in.
    """

    name: str
    first: Version | None = None
    last: Version | None = None

    def __str__(self) -> str:
        if self.first is None and self.last is None:
            return self.name
        return f"{self.name} {self.first or ''} .. {self.last or ''}".replace("  ", " ").rstrip()

    def holds(self, version: Version) -> bool:
        """Whether a release lies in the range, both ends included."""
        if self.first is not None and version < self.first:
            return False
        if self.last is None or version <= self.last:
            return True
        is_plain = str(self.last) == self.last.base_version  # no rc1, .post1, .dev1 or +local
        begins_with = version.release[: len(self.last.release)] == self.last.release
        return is_plain and begins_with and version.epoch == self.last.epoch


def parse_release_range(text: str, first: str | None, last: str | None) -> ReleaseRange:
    """Read a package and its ends.

    Args:
        text: ``NAME``, ``NAME A .. B``, ``NAME A ..`` or ``NAME .. B``.
        first: What ``--from`` says.
        last: What ``--to`` says.

    Raises:
        ConfigurationError: It cannot be read, an end is said twice or is no version, or the first
            is newer than the last.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            "--python-package cannot be used", got=text, expected=_EXPECTED, hint=_EXAMPLE
        )
    ends = []
    for option, given, within in (
        ("--from", first, found["first"]),
        ("--to", last, found["last"]),
    ):
        if given and within:
            raise ConfigurationError(
                f"{option} and the range of --python-package both name an end",
                got=f"{given} and {within}",
                expected="one of them",
                hint=_EXAMPLE,
            )
        ends.append(_parse_end(option, given or within))
    oldest, newest = ends
    asked = ReleaseRange(str(canonicalize_name(found["name"])), oldest, newest)
    if oldest is not None and newest is not None and not asked.holds(oldest):
        raise ConfigurationError(
            "the first release is newer than the last",
            got=f"{oldest} .. {newest}",
            expected="the older one first",
            hint=join_command(
                ["sdperf", "sweep", "--python-package", f"{asked.name} {newest} .. {oldest}"]
            ),
        )
    return asked


def list_releases(
    asked: ReleaseRange, pip_options: Sequence[str], run: RunProgram = run_aloud
) -> tuple[str, ...]:
    """Ask the package index which releases of a range fit this machine and this Python.

    Args:
        asked: The range.
        pip_options: As for ``pip install``; those that say where to look are passed on.
        run: Runs pip.

    Returns:
        Their versions, oldest first.

    Raises:
        PackageError: The index offers none in the range.
        ConfigurationError: The index cannot be asked.
    """
    command = [
        *(sys.executable, "-m", "pip", "index", "versions"),
        *("--no-input", "--disable-pip-version-check"),
        *keep_index_options(pip_options),
        asked.name,
    ]
    lines: list[str] = []
    status = run(command, lines.append)
    output = "".join(lines)
    if status and _NO_MATCH.search(output):
        raise PackageError(
            f"the package index offers no {asked.name} for this machine and this Python",
            got="no matching distribution",
            hint="look at the name; --pip-option '--index-url URL' names another index",
        )
    if status:
        failure = explain_pip_failure(output, [asked.name], "")
        if isinstance(failure, ConfigurationError):
            raise failure
        raise ConfigurationError(
            f"pip cannot list the releases of {asked.name}",
            got=failure.got,
            hint="name each version by a --python-package, or look: python -m pip index versions "
            f"{asked.name}",
        )
    return select_releases(asked, parse_offered(output))


def keep_index_options(pip_options: Sequence[str]) -> list[str]:
    """Return those options of ``pip install`` that say where to look. Pure.

    >>> keep_index_options(["--no-deps", "-i", "https://example.org", "--find-links=here"])
    ['-i', 'https://example.org', '--find-links=here']
    """
    kept: list[str] = []
    words = iter(pip_options)
    for word in words:
        if word in _ALONE or word.partition("=")[0] in _WITH_VALUE:
            kept.append(word)
            if word in _WITH_VALUE:
                kept += [value for value in [next(words, None)] if value is not None]
    return kept


def parse_offered(output: str) -> tuple[Version, ...]:
    """Return the versions that ``pip index versions`` printed, oldest first. Pure.

    Raises:
        ConfigurationError: It printed none, or something else.
    """
    found = _OFFERED.search(output)
    versions = []
    for text in [] if found is None else found["versions"].split(","):
        try:
            versions.append(Version(text.strip()))
        except InvalidVersion:  # older indexes hold some: pip cannot order them either
            continue
    if not versions:
        raise ConfigurationError(
            "pip did not say which releases there are",
            got=output.strip()[-200:] or "nothing",
            expected="a line that begins with Available versions:",
            hint="python -m pip install --upgrade pip, or name each version by a --python-package",
        )
    return tuple(sorted(set(versions)))


def select_releases(asked: ReleaseRange, offered: Sequence[Version]) -> tuple[str, ...]:
    """Return the releases of a range, oldest first. Pure.

    Raises:
        PackageError: There are none.
    """
    chosen = tuple(str(one) for one in offered if asked.holds(one))
    if not chosen:
        newest = ", ".join(map(str, offered[-_MOST_SHOWN:]))
        raise PackageError(
            f"no release lies in {asked}",
            got=f"the newest on offer: {newest}",
            hint="--from and --to take versions that exist, or the first digits of them",
        )
    return chosen


def _parse_end(option: str, text: str | None) -> Version | None:
    if not text:
        return None
    try:
        return Version(text)
    except InvalidVersion as error:
        raise ConfigurationError(
            f"{option} is no version", got=text, expected="such as 1.22 or 2.13.0", hint=_EXAMPLE
        ) from error
