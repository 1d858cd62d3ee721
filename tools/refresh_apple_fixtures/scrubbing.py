"""Taking serial numbers, names and places out of what macOS' programs print. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sdperf.store.contribution.anonymity import Identity, find_identifying

SYSTEM_PROGRAMS: Final = re.compile(
    r"mds|mds_stores|mdworker\w*|mediaanalysisd|photoanalysisd|backupd|softwareupdated"
    r"|kernel_task|launchd|WindowServer|python[\d.]*"
)
"""Programs whose names stay in a list of processes; all others become ``other``."""

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"<data>[^<]*</data>"), "<data>AAAA</data>"),
    (
        re.compile(r"(<key>[^<]*(?:[Ss]erial|UUID|UDID)[^<]*</key>\s*<(\w+)>)[^<]*(</\2>)"),
        r"\g<1>0\g<3>",
    ),
    (
        re.compile(r'("[^"]*(?:[Ss]erial|UUID|UDID)[^"]*"\s*[:=]\s*)(?:"[^"]*"|<[^>]*>|\w+)'),
        r'\1"0"',
    ),
    (re.compile(r"((?:Serial Number|UUID|UDID)[^:\n]*:\s*)\S+"), r"\g<1>0"),
    (re.compile(r'("_name"\s*:\s*)"(?!kHW_|spdisplays_)(?!Apple )[^"]*"'), r'\1"Display"'),
    (re.compile(r"\(id=\d+\)"), "(id=0)"),
    (re.compile(r"\(sleep prevented by [^)]*\)"), "(sleep prevented by other)"),
    (re.compile(r"((?:Destination\w*|\w*Volume\w*|\w*Path\w*) = )[^;\n]*;"), r'\g<1>"0";'),
    (
        re.compile(r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"),
        "00000000-0000-0000-0000-000000000000",
    ),
    (re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"), "00:00:00:00:00:00"),
    (re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"), "0.0.0.0"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "user at host"),
    (re.compile(r"/(?:Users|Volumes|home)/[^\s\"'<>;,)]*"), "PLACE"),
    (re.compile(r"\b[\w-]+\.(?:local|lan|home|internal|corp)\b", re.IGNORECASE), "host"),
    (re.compile(r"\b(?=[A-Z0-9]*[A-Z])(?=[A-Z0-9]*[0-9])[A-Z0-9]{10,16}\b"), "SERIAL"),
)
_NOT_OURS: Final = ("00000000-0000-0000-0000-000000000000", "00:00:00:00:00:00", "0.0.0.0")


def scrub(text: str, identity: Identity) -> str:
    """Replace what could name a person, a machine or a place; the shape of the text stays."""
    for trace, instead in _RULES:
        text = trace.sub(instead, text)
    for name in sorted(identity.names, key=len, reverse=True):
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "NAME", text, flags=re.IGNORECASE)
    return text


def scrub_processes(text: str) -> str:
    """Keep the shares of ``ps -Aceo pcpu,comm``, and of the names those of the system."""

    def keep(line: re.Match[str]) -> str:
        name = line.group(2).strip()
        known = name == "COMM" or SYSTEM_PROGRAMS.fullmatch(name)
        return line.group(1) + (name if known else "other")

    return re.sub(r"^(\s*\S+\s+)(\S.*)$", keep, text, flags=re.MULTILINE)


def find_leftovers(texts: Mapping[str, str], identity: Identity) -> list[str]:
    """Find what scrubbing missed; the places, never the texts."""
    cleaned = {name: _without(text, _NOT_OURS) for name, text in texts.items()}
    return find_identifying(cleaned, identity)


def _without(text: str, words: Iterable[str]) -> str:
    for word in words:
        text = text.replace(word, "")
    return text
