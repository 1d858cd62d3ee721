"""Draws prompts and the pictures that the exported pipeline makes of them on one sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PROMPTS = (
    "red apple",
    "smiling cat face",
    "dog",
    "rocket",
    "pizza",
    "red heart",
    "house",
    "rainbow",
    "astronaut",
    "robot",
    "unicorn",
    "guitar",
    "birthday cake",
    "sunflower",
    "snowman",
    "dragon",
    "face with tears of joy",
    "ghost",
    "octopus",
    "strawberry",
    "car",
    "bicycle",
    "crown",
    "blue apple",
    "green cat face",
    "purple car",
    "pink elephant",
    "a red apple on a blue background",
    "penguin on a yellow background",
    "two bananas",
    "cat face and pizza",
    "a blue guitar and a green apple",
    "a black rose",
    "orange dolphin",
    "rocket and star",
    "mushroom",
    "volcano",
    "an emoji of a lion",
    "crying face",
    "soccer ball",
    "umbrella",
    "tiger face, animal",
    "butterfly",
    "hamburger",
    "owl",
    "smiling face",
    "sailboat",
    "green dragon",
    "yellow umbrella",
    "snail",
    "two red hearts",
    "dog face and house",
    "a purple butterfly on a green background",
    "violin",
)
_CELL, _TEXT, _COLUMNS = 136, 26, 9


def draw_contact_sheet(prompts: Sequence[str], pictures: NDArray[np.uint8], path: Path) -> None:
    """Writes a PNG with one labelled cell a prompt, in the order given.

    Args:
        prompts: Captions.
        pictures: (len(prompts), 128, 128, 3) uint8.
        path: The PNG to write.
    """
    rows = -(-len(prompts) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _CELL, rows * (_CELL + _TEXT)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
        x, y = index % _COLUMNS * _CELL, index // _COLUMNS * (_CELL + _TEXT)
        sheet.paste(Image.fromarray(picture), (x + 4, y + 2))
        draw.text((x + 4, y + 131), prompt[:22], fill="black")
        draw.text((x + 4, y + 142), prompt[22:44], fill="black")
    sheet.save(path)
