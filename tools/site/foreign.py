"""What a page would load from elsewhere: no reader of the site is told to anybody. Pure.

Not what loads is listed but what does not: an attribute that is none of those below may name
nothing on another host, whatever a browser does with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

_ONLY_FOLLOWED: Final = {("a", "href"), ("area", "href"), ("form", "action")}
"""Where a reader goes by a click."""

_WORDS: Final = {"alt", "cite", "class", "content", "id", "label", "name", "placeholder", "title"}
_WORDS_TOO: Final = ("aria-", "data-", "xmlns")
"""Attributes that are words or names, with the beginnings of others; scripts are looked at."""

_ONLY_NAMED: Final = {"canonical", "next", "prev", "search", "index", "author", "help", "license"}
"""Relations of a link that name a place and load nothing."""

_ELSEWHERE: Final = re.compile(r"(?!data:(?:image|font)/)(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
"""How an address begins that is not one of the site's own; pictures within a page are its own."""

_NAMESPACE: Final = re.compile(r"http://www\.w3\.org/[\w/]*(?=[\"'`\s>);]|$)")
"""Names that look like addresses, of SVG and XHTML."""

_IN_STYLE: Final = re.compile(
    r"(?:(?<![a-z0-9+.-])(?:https?|wss?|ftp|file|blob|javascript):|(?<![:/])//)[^'\"()\s]*"
    r"|data:(?!image/|font/)[^'\"()\s]*",
    re.IGNORECASE,
)
_IN_SCRIPT: Final = re.compile(
    r"(?<=[\"'`])\s*(?:(?:https?|wss?|ftp):|//[\w\[])[^\"'`\s]*", re.IGNORECASE
)
_STYLE_PARTS: Final = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\(\s*[^"'\s)][^)]*\))|/\*.*?\*/""",
    re.DOTALL | re.IGNORECASE,
)
_STYLE_ESCAPE: Final = re.compile(r"\\(?:([0-9a-f]{1,6})\s?|\n|(.))", re.IGNORECASE)
_SCRIPT_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-f]{2})|u\{?([0-9a-f]{4,6})\}?|([0-3]?[0-7]{1,2})|([/:]))", re.IGNORECASE
)
_JOINED: Final = re.compile(r"""(["'`])(?:\s|/\*.*?\*/)*\+(?:\s|/\*.*?\*/)*["'`]""", re.DOTALL)
"""The border of two texts that a script joins."""


class _Loading(HTMLParser):
    """Collects what a page loads from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at what an element names."""
        self._inside = tag
        told = [(name, value or "") for name, value in attrs]
        named = dict(reversed(told))  # of an attribute that stands twice browsers take the first
        relations = set(named.get("rel", "").lower().split())
        is_named = tag == "link" and bool(relations) and not relations - _ONLY_NAMED
        for name, value in told:
            if name == "srcdoc":
                self.found += find_foreign(value)
            elif name == "style":
                self.found += find_in_style(value)
            elif name.startswith("on"):
                self.found += find_in_script(value)
            elif tag == "meta" and "refresh" in named.get("http-equiv", "").lower():
                self.found += _list_elsewhere(value.partition("=")[2].strip().strip("'\""))
            elif (tag, name) in _ONLY_FOLLOWED:
                self.found += [value] if _tidy(value).lower().startswith("javascript:") else []
            elif not (is_named or name in _WORDS or name.startswith(_WORDS_TOO)):
                self.found += _list_elsewhere(value)

    def handle_endtag(self, tag: str) -> None:
        """Leave a style sheet or a script."""
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        """Look into a style sheet or a script of the page's own."""
        if self._inside == "style":
            self.found += find_in_style(data)
        elif self._inside == "script":
            self.found += find_in_script(data)


def find_foreign(html: str) -> list[str]:
    """Return the addresses on other hosts that a page loads by itself; links are none."""
    parser = _Loading()
    parser.feed(html)
    parser.close()
    return parser.found


def find_in_style(css: str) -> list[str]:
    """Return the addresses on other hosts that a style sheet names outside of comments."""
    bare = _STYLE_PARTS.sub(lambda part: part.group(1) or " ", css)
    plain = _STYLE_ESCAPE.sub(_read_style_escape, bare)
    return list(_find(_IN_STYLE, plain.replace("\\", "/")))


def find_in_script(code: str) -> list[str]:
    """Return the addresses on other hosts that a script's texts, joined or not, begin with."""
    plain = _SCRIPT_ESCAPE.sub(_read_script_escape, code)
    return list(_find(_IN_SCRIPT, _JOINED.sub("", plain)))


def _find(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for found in pattern.finditer(_NAMESPACE.sub("", text)):
        yield found.group().strip()


def _list_elsewhere(value: str) -> list[str]:
    """Return the foreign ones of an attribute's addresses, which blanks and commas may part."""
    whole = _tidy(value)
    parts = [part for part in re.split(r"[\s,]+", value) if part]
    found = [one for one in dict.fromkeys([whole, *map(_tidy, parts)]) if _ELSEWHERE.match(one)]
    return found[:1]


def _tidy(address: str) -> str:
    """Return an address as browsers read it: no control, no line end, no backslash."""
    return re.sub(r"[\t\r\n]", "", address).strip("".join(map(chr, range(33)))).replace("\\", "/")


def _read_style_escape(found: re.Match[str]) -> str:
    return _read_digits(found.group(1), found.group(2))


def _read_script_escape(found: re.Match[str]) -> str:
    hexadecimal, braced, octal, other = found.groups()
    if octal is not None:
        return chr(int(octal, 8))
    return _read_digits(hexadecimal or braced, other)


def _read_digits(digits: str | None, other: str | None) -> str:
    number = int(digits or "0", 16)
    return chr(number) if 0 < number < 0x110000 else other or ""
