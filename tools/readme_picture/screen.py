"""What the picture shows, without a browser: the report of two committed runs, and its words."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from sdperf.judging.machine import judge_machine
from sdperf.report.html.page import render_page
from sdperf.report.pictures.pictures import locate_pictures
from sdperf.report.saved import read_reported_run

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
PICTURE: Final = IMAGES / "report.png"
WORDS: Final = IMAGES / "report" / "words.txt"
RUNS: Final = (IMAGES / "report" / "before.json", IMAGES / "report" / "after.json")

_VOID: Final = frozenset({"br", "img", "link", "meta", "input"})


def render_report() -> str:
    """Render the report of the two runs as `sdperf report before.json after.json` does."""
    machine = judge_machine([read_reported_run(path) for path in RUNS])
    return render_page([machine], locate_pictures(RUNS))


def list_words(page: str) -> list[str]:
    """Return the texts of a report's header and verdict, one a line."""
    reader = _Screen()
    reader.feed(page)
    return reader.texts


class _Screen(HTMLParser):
    """Collects the texts inside the header and the verdict."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = (dict(attrs).get("class") or "").split()
        begins = (tag == "header" and "top" in classes) or (
            tag == "section" and "verdict" in classes
        )
        if tag not in _VOID and (self._depth or begins):
            self._depth += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID and self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if self._depth and text:
            self.texts.append(text)
