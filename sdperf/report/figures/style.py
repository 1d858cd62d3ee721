"""How figures look and how they become SVG and PNG.

A figure is drawn once, in the light colours. For a report its SVG is rewritten: every colour of
the palette becomes a CSS variable, so that it follows the page into the dark, texts stay texts, and
ids get the figure's name in front, so that many fit on one page.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sdperf.report.figures.palette import COLOURS, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN: Final = 7.6
"""Width of a figure in inches: one column of a page."""

DPI: Final = 200
_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
_PLACES: Final = re.compile(r"(\.\d{2})\d+")
"""Matches digits beyond a hundredth of a point, which nobody sees."""

_FONT: Final = re.compile(r"font: ((?:[\w-]+ )*[\d.]+px) [^;]*")


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in sdperf's style within this block; nothing outside the block changes."""
    import matplotlib as mpl

    settings: dict[Any, Any] = {
        "axes.axisbelow": True,
        "axes.edgecolor": light("rule"),
        "axes.facecolor": "none",
        "axes.grid": False,
        "axes.labelcolor": light("dim"),
        "axes.labelsize": 8.5,
        "axes.linewidth": 0.8,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.titlecolor": light("ink"),
        "figure.facecolor": "none",
        "font.family": ["DejaVu Sans"],
        "font.size": 8.5,
        "grid.color": light("faint"),
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.6,
        "svg.hashsalt": "sdperf",
        "text.color": light("ink"),
        "text.parse_math": False,
        "xtick.color": light("rule"),
        "xtick.labelcolor": light("dim"),
        "xtick.labelsize": 8,
        "ytick.color": light("rule"),
        "ytick.labelcolor": light("dim"),
        "ytick.labelsize": 8,
        "ytick.major.size": 0,
        "xtick.major.size": 3,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(rows: int, columns: int, height_in: float, **grid: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure with a grid of axes, without pyplot and its windows.

    Returns:
        The figure, and its axes row by row.
    """
    figure = _figure_class()(figsize=(WIDTH_IN, height_in), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, [one for row in axes for one in row]


@cache
def _figure_class() -> type[Figure]:
    """Return a figure that is only laid out where matplotlib draws it for its layout alone.

    Saving draws it twice, and of the first drawing nothing but the layout is kept.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    class LaidOutFigure(Figure):
        def draw(self, renderer: Any) -> None:
            engine = self.get_layout_engine()
            if isinstance(engine, ConstrainedLayoutEngine) and self.canvas.is_saving():
                engine.execute(self)
            else:
                super().draw(renderer)

    return LaidOutFigure


def label_ends(
    ax: Axes, ends: Sequence[tuple[float, str, str]], x: float, *, share: float = 0.09
) -> None:
    """Write each line's name at its end, pushed apart so that none covers another.

    Args:
        ax: Axes whose limits are final.
        ends: Last value, words and colour of each line.
        x: Where the lines end.
        share: Height of the words, as a share of the axes.
    """
    low, high = ax.get_ylim()
    places: list[float] = []
    for value, _, _ in sorted(ends):
        places.append(max(value, places[-1] + share * (high - low)) if places else value)
    excess = max(0.0, places[-1] - high) if places else 0.0
    for place, (_, words, colour) in zip(places, sorted(ends), strict=True):
        ax.annotate(
            words,
            (x, place - excess),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=colour,
            annotation_clip=False,
        )


_NO_XML: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
"""Matches UTF-8 that XML may not hold: texts of a figure may come from a file."""


def render_svg(figure: Figure) -> bytes:
    """Render a figure as a separate file, with texts as outlines so that no font is needed."""
    return _save(figure, "path", light("paper"))


def render_png(figure: Figure) -> bytes:
    """Render a figure as PNG at 200 dots an inch, on white."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(
            buffer,
            format="png",
            dpi=DPI,
            facecolor=light("paper"),
            metadata={"Software": None},
        )
    return buffer.getvalue()


def render_inline_svg(figure: Figure, name: str, label: str, hints: Mapping[str, str]) -> str:
    """Render a figure for a report's page.

    Args:
        figure: The figure.
        name: Goes in front of every id, so that pages hold many figures.
        label: What the figure shows, for those who cannot see it.
        hints: Words to show over an artist, by the artist's ``gid``.

    Returns:
        An ``svg`` element that takes its colours from the page's CSS variables.
    """
    root = ET.fromstring(_NO_XML.sub(b"?", _save(figure, "none", "none")))
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    needed = {found for element in root.iter() for found in _references(element)}
    for element in root.iter():
        words = hints.get(element.get("id", ""))
        if words is not None:
            title = ET.Element(f"{{{_SVG}}}title")
            title.text = words
            element.insert(0, title)
        _rewrite(element, name, needed)
    for attribute in ("width", "height"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("class", "plot")
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return ET.tostring(root, encoding="unicode")


def _save(figure: Figure, fonttype: str, facecolor: str) -> bytes:
    import matplotlib as mpl

    buffer = io.BytesIO()
    with figure_style(), mpl.rc_context({"svg.fonttype": fonttype}):
        figure.savefig(
            buffer,
            format="svg",
            facecolor=facecolor,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return buffer.getvalue()


def _references(element: ET.Element) -> Iterator[str]:
    for key, value in element.attrib.items():
        if key.endswith("href") and value.startswith("#"):
            yield value[1:]
        yield from re.findall(r"url\(#([^)]*)\)", value)


def _rewrite(element: ET.Element, name: str, needed: Collection[str]) -> None:
    identity = element.attrib.pop("id", None)
    if identity in needed:
        element.set("id", f"{name}-{identity}")
    for key, value in list(element.attrib.items()):
        if key.endswith("href") and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
        elif key in ("d", "transform", "x", "y"):
            element.set(key, " ".join(_PLACES.sub(r"\1", value).split()))
    style = element.get("style")
    if style is not None:
        for role, (colour, _) in COLOURS.items():
            style = style.replace(colour, f"var(--{role})")
        if element.tag == f"{{{_SVG}}}text":
            style = _FONT.sub(r"font: \1var(--sans)", style)
        element.set("style", style)
    if element.tail is not None and not element.tail.strip():
        element.tail = None
