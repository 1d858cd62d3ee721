"""What a page holds that Sphinx would carry out or take along, and GitHub would not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tools.site.staging import find_targets, resolve

_DIRECTIVE: Final = re.compile(r"(?:`{3,}|~{3,})[ \t]*\{")
"""A fence of a directive, which MyST carries out; wherever it stands, in a list say."""

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SCHEMES: Final = ("http:", "https:", "mailto:")


def find_unfit(page: str, text: str) -> Iterator[str]:
    """Find what a page may not hold.

    Args:
        page: Where it lies, from the root.
        text: The page, in Markdown.

    Yields:
        What is wrong, one line each.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if _DIRECTIVE.search(line):
            yield f"{page}:{number}: a directive, which only a site carries out: {line.strip()}"
    if re.match(r"---+\s*$", text.partition("\n")[0]):
        yield f"{page}:1: settings before the page, which only a site reads"
    folder = PurePosixPath(page).parent.as_posix()
    for target in dict.fromkeys([*_list_links(text), *find_targets(text)]):
        scheme = _SCHEME.match(target)
        if scheme is not None and scheme.group().lower() not in _SCHEMES:
            yield f"{page}: a link that only a site reads, or no address: {target}"
        elif scheme is None and not target.startswith("//") and _leads_out(target, folder):
            yield f"{page}: a link that leads out of the repository: {target}"


def _leads_out(target: str, folder: str) -> bool:
    path = unquote(target).partition("#")[0]
    return bool(path) and resolve(path, folder) is None


def _list_links(text: str) -> Iterator[str]:
    """List where links and pictures lead, also those by a reference or in angle brackets."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token in _walk(tokens):
        for attribute in ("href", "src"):
            target = token.attrGet(attribute)
            if isinstance(target, str):
                yield target


def _walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])
