"""Draw the picture that ships as the input of image-to-image and its like: a house in a meadow.

python -m tools.draw_input_picture   writes sdperf/images/input_picture.png

Drawn here, so that it is anybody's to use. Another picture is another workload: its hash stands in
every record, and `tests/images/test_input_files.py` holds the file to it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from sdperf.store.files import write_atomically

PICTURE: Final = Path(__file__).parents[1] / "sdperf" / "images" / "input_picture.png"
EDGE_PX: Final = 512
_FINER: Final = 4
"""Times larger than it is kept: edges are smooth then."""


def draw() -> Image.Image:
    """Draw it, 512 x 512 pixels."""
    edge = EDGE_PX * _FINER
    image = Image.new("RGB", (edge, edge))
    pen = ImageDraw.Draw(image)
    for row in range(edge):
        down = row / edge
        pen.line(
            [(0, row), (edge, row)],
            fill=(round(120 + 110 * down), round(180 + 50 * down), round(240 - 20 * down)),
        )

    def place(*points: float) -> list[float]:
        return [point * edge for point in points]

    pen.ellipse(place(0.74, 0.08, 0.90, 0.24), fill=(255, 214, 80))
    pen.ellipse(place(-0.35, 0.58, 0.75, 1.50), fill=(86, 150, 74))
    pen.ellipse(place(0.25, 0.64, 1.40, 1.60), fill=(110, 176, 86))
    pen.rectangle(place(0.30, 0.46, 0.62, 0.74), fill=(236, 222, 196))
    pen.polygon(place(0.26, 0.47, 0.46, 0.28, 0.66, 0.47), fill=(176, 66, 52))
    pen.rectangle(place(0.43, 0.58, 0.51, 0.74), fill=(110, 72, 48))
    for left in (0.34, 0.54):
        pen.rectangle(place(left, 0.52, left + 0.06, 0.59), fill=(96, 140, 190))
    pen.rectangle(place(0.79, 0.56, 0.82, 0.78), fill=(104, 74, 50))
    pen.ellipse(place(0.71, 0.40, 0.90, 0.64), fill=(62, 122, 66))
    return image.resize((EDGE_PX, EDGE_PX), Image.Resampling.BOX)


def main() -> None:
    """Write the file."""
    buffer = io.BytesIO()
    draw().save(buffer, format="PNG", optimize=True)
    write_atomically(PICTURE, buffer.getvalue())
    print(f"{PICTURE}: {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    main()
