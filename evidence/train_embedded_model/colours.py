"""The colour words that the model knows, and the fixed rule that keeps some of them unseen."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """One named colour as a target for recolouring.

    Attributes:
        word: The word in the caption.
        hue: Target hue in [0, 1).
        saturation: Mean saturation of the recoloured area, [0, 1].
        value: Mean HSV value of the recoloured area, [0, 1].
    """

    word: str
    hue: float
    saturation: float
    value: float


COLOURS: tuple[Colour, ...] = (
    Colour("red", 2 / 360, 0.83, 0.90),
    Colour("orange", 29 / 360, 0.88, 0.98),
    Colour("yellow", 50 / 360, 0.78, 0.99),
    Colour("green", 128 / 360, 0.72, 0.66),
    Colour("blue", 214 / 360, 0.76, 0.88),
    Colour("purple", 276 / 360, 0.62, 0.74),
    Colour("pink", 334 / 360, 0.42, 0.99),
    Colour("brown", 22 / 360, 0.62, 0.52),
    Colour("black", 0.0, 0.03, 0.20),
    Colour("white", 0.0, 0.02, 0.95),
    Colour("gray", 0.0, 0.03, 0.60),
)
COLOUR_WORDS: tuple[str, ...] = tuple(colour.word for colour in COLOURS)

BACKGROUNDS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("red", (222, 64, 58)),
    ("orange", (250, 150, 40)),
    ("yellow", (248, 220, 96)),
    ("green", (96, 186, 98)),
    ("blue", (88, 146, 236)),
    ("purple", (146, 92, 204)),
    ("pink", (246, 168, 196)),
    ("brown", (142, 102, 72)),
    ("black", (28, 28, 28)),
    ("gray", (152, 152, 152)),
)
BACKGROUND_WORDS: tuple[str, ...] = tuple(word for word, _ in BACKGROUNDS)


def compute_noun(name: str) -> str:
    """The name without colour words: ``"red apple"`` -> ``"apple"``; a bare colour word stays."""
    kept = [word for word in name.split() if word not in COLOUR_WORDS]
    return " ".join(kept) if kept else name


def is_held_out(noun: str, attribute: str) -> bool:
    """Whether (noun, attribute) is never trained: one in ten, by a hash that never changes.

    The rule goes by noun, so that twins ("green book", "blue book") are held out together.

    Args:
        noun: The emoji's name without colour words.
        attribute: ``"colour:blue"`` or ``"background:blue"``.
    """
    return hashlib.sha256(f"{noun}|{attribute}".encode()).digest()[0] % 10 == 0
