"""Evidence to look at: baseline | current | difference, labelled, with the worst tile outlined.

Pure: arrays in, an array out; Pillow draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sdperf.images import difference_image
from sdperf.images.difference import DEFAULT_GAIN
from sdperf.report.text.wrapping import wrap_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALLEST_PANEL_PX: Final = 320
"""Pixels; smaller images are enlarged by a whole factor, so that their pixels stay visible."""

_GAP_PX: Final = 12
_TEXT_PX: Final = 15
_LINE_PX: Final = 21
_BACKGROUND: Final = (24, 24, 27)
_TEXT: Final = (228, 228, 231)
_DIM: Final = (161, 161, 170)
_OUTLINE: Final = (255, 59, 48)


def compose_side_by_side(
    baseline: NDArray[np.uint8],
    current: NDArray[np.uint8],
    *,
    tile_box: tuple[int, int, int, int],
    title: str,
    caption: str,
    against: str = "baseline",
    current_name: str = "current",
) -> NDArray[np.uint8]:
    """Draw two images and their difference beside each other.

    Args:
        baseline: (H, W, 3) uint8.
        current: The same shape.
        tile_box: The tile to outline as (left, top, right, bottom), pixels of the images.
        title: The first line, which names the image.
        caption: What was found; wrapped to the width.
        against: What the first image is.
        current_name: What the second image is.

    Returns:
        (H', W', 3) uint8.

    Raises:
        ImageError: The shapes differ or one is not an image.
    """
    difference = difference_image(baseline, current)
    height, width = baseline.shape[:2]
    scale = max(1, -(-SMALLEST_PANEL_PX // max(height, width)))
    panel_width, panel_height = width * scale, height * scale
    canvas_width = 3 * panel_width + 4 * _GAP_PX
    columns = max(20, int((canvas_width - 2 * _GAP_PX) / (_TEXT_PX * 0.55)))
    lines = [
        (line, colour)
        for text, colour in ((title, _TEXT), (caption, _DIM))
        for line in wrap_text(_printable(text), columns)
    ]
    top = _GAP_PX + _LINE_PX * len(lines) + _GAP_PX // 2
    canvas = Image.new(
        "RGB", (canvas_width, top + panel_height + _LINE_PX + _GAP_PX + _GAP_PX // 2), _BACKGROUND
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_TEXT_PX)
    for index, (line, colour) in enumerate(lines):
        draw.text((_GAP_PX, _GAP_PX + index * _LINE_PX), line, fill=colour, font=font)
    panels = (
        (against, baseline),
        (current_name, current),
        (f"difference, {DEFAULT_GAIN:g} times", difference),
    )
    for index, (label, pixels) in enumerate(panels):
        left = _GAP_PX + index * (panel_width + _GAP_PX)
        enlarged = Image.fromarray(pixels).resize(
            (panel_width, panel_height), Image.Resampling.NEAREST
        )
        canvas.paste(enlarged, (left, top))
        _outline(draw, tile_box, left, top, scale)
        draw.text((left, top + panel_height + _GAP_PX // 2), label, fill=_TEXT, font=font)
    return np.asarray(canvas)


def _outline(
    draw: Any, tile_box: tuple[int, int, int, int], left: int, top: int, scale: int
) -> None:
    """Frame a tile just outside its pixels, so that none of them is covered."""
    x0, y0, x1, y1 = (value * scale for value in tile_box)
    for grown in (1, 2):
        draw.rectangle(
            (left + x0 - grown, top + y0 - grown, left + x1 - 1 + grown, top + y1 - 1 + grown),
            outline=_OUTLINE,
        )


def _printable(text: str) -> str:
    """Leave only what Pillow's built-in font can draw; a prompt can hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:600]
