"""What a page would load from elsewhere: no reader of the site is told to anybody. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

_LOADED: Final = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "link": ("href",),
}
_ONLY_NAMED: Final = {"canonical", "next", "prev", "search", "index", "author", "help", "license"}
"""Relations of a link that name a place and load nothing."""

_ELSEWHERE: Final = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLE: Final = re.compile(
    r"(?:url\(|@import)\s*['\"]?\s*((?:[a-z]+:)?//[^'\")\s]+)", re.IGNORECASE
)


class _Loading(HTMLParser):
    """Collects what a page loads from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at what an element loads."""
        named = {name: value or "" for name, value in attrs}
        self._is_style = tag == "style"
        relations = set(named.get("rel", "").lower().split())
        if tag != "link" or not relations or relations - _ONLY_NAMED:
            places = (named.get(attribute, "") for attribute in _LOADED.get(tag, ()))
            self.found += [place for place in places if _ELSEWHERE.match(place)]
        self.found += find_in_style(named.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        """Leave a style sheet."""
        self._is_style = self._is_style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Look into a style sheet of the page's own."""
        if self._is_style:
            self.found += find_in_style(data)


def find_foreign(html: str) -> list[str]:
    """Return the addresses on other hosts that a page loads by itself; links are none."""
    parser = _Loading()
    parser.feed(html)
    parser.close()
    return parser.found


def find_in_style(css: str) -> list[str]:
    """Return the addresses on other hosts that a style sheet loads: fonts, pictures, sheets."""
    return list(_iterate(css))


def _iterate(css: str) -> Iterator[str]:
    for found in _IN_STYLE.finditer(css):
        yield found.group(1)
