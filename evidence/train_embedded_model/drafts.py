"""Describes the training pictures: what is drawn where, and what the captions say. Pure, seeded."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from . import captions
from .catalogue import Catalogue
from .colours import BACKGROUND_WORDS, COLOUR_WORDS

CAPTIONS_PER_PICTURE = 2
PAIR_GROUP_WEIGHTS = {0: 1.5, 1: 0.6, 3: 3.0, 4: 3.0, 5: 2.5, 6: 2.0, 7: 2.0, 8: 0.4}
_OWN_COLOUR_SHARE = 0.04
_COLOURED_SHARE_IN_PAIRS = 0.15

Placement = tuple[float, float, float]
WHOLE_FRAME: Placement = (0.5, 0.5, 1.0)


@dataclass(frozen=True)
class Draft:
    """The description of one picture.

    Attributes:
        captions: Texts that fit it.
        emoji: The left (or only) emoji and the right one; -1 for none.
        placement: Centre x, centre y and size of each, in fractions of the frame.
        colour: Index into COLOURS for each; -1 keeps the drawing's own colours.
        background: Index into BACKGROUNDS; -1 is white.
    """

    captions: tuple[str, ...]
    emoji: tuple[int, int]
    placement: tuple[Placement, Placement]
    colour: tuple[int, int] = (-1, -1)
    background: int = -1


def draw_up(catalogue: Catalogue, seed: int, scale: float) -> tuple[list[Draft], list[int]]:
    """Draws up all pictures, kind after kind.

    Args:
        catalogue: What may be combined.
        seed: Of everything random.
        scale: Share of the full number of pictures of each kind, (0, 1].

    Returns:
        The drafts, and how many there are of each of `dataset.KINDS`.
    """
    author = _Author(catalogue, random.Random(seed), scale)
    drafts: list[Draft] = []
    sizes: list[int] = []
    for draw_up_kind in (
        author.plain,
        author.recoloured,
        author.on_backgrounds,
        author.recoloured_on_backgrounds,
        author.twos,
        author.pairs,
    ):
        begin = len(drafts)
        drafts.extend(draw_up_kind())
        sizes.append(len(drafts) - begin)
    return drafts, sizes


class _Author:
    """Draws up the pictures of one kind after the other from one stream of random numbers."""

    def __init__(self, catalogue: Catalogue, rng: random.Random, scale: float) -> None:
        self._catalogue = catalogue
        self._rng = rng
        self._scale = scale
        self._indices = range(len(catalogue.emoji))

    def plain(self) -> Iterator[Draft]:
        """Each emoji as it is, on white."""
        for index in self._indices:
            for repeat in range(self._count(40)):
                place = WHOLE_FRAME if repeat % 10 == 0 else self._place_single()
                yield self._describe_single(partial(self._write_plain, index), index, place)

    def recoloured(self) -> Iterator[Draft]:
        """Each emoji in each of its trained colours, on white."""
        for index in self._indices:
            for colour in self._catalogue.trained_colours(index):
                for _ in range(self._count(4)):
                    yield self._describe_single(
                        partial(self._write_coloured, index, colour),
                        index,
                        self._place_single(),
                        colour=COLOUR_WORDS.index(colour),
                    )

    def on_backgrounds(self) -> Iterator[Draft]:
        """Each emoji as it is, on each of its trained backgrounds."""
        for index in self._indices:
            for ground in self._catalogue.trained_backgrounds(index):
                for _ in range(self._count(2)):
                    yield self._describe_single(
                        partial(self._write_on_background, index, ground),
                        index,
                        self._place_single(),
                        background=BACKGROUND_WORDS.index(ground),
                    )

    def recoloured_on_backgrounds(self) -> Iterator[Draft]:
        """Random emoji in a trained colour on a trained background of another colour."""
        coloured = [i for i in self._indices if self._catalogue.trained_colours(i)]
        for _ in range(self._count(16_000) if coloured else 0):
            index = self._rng.choice(coloured)
            colour = self._rng.choice(self._catalogue.trained_colours(index))
            grounds = self._catalogue.trained_backgrounds(index)
            ground = self._rng.choice([word for word in grounds if word != colour])
            yield self._describe_single(
                partial(self._write_coloured_on_background, index, colour, ground),
                index,
                self._place_single(),
                colour=COLOUR_WORDS.index(colour),
                background=BACKGROUND_WORDS.index(ground),
            )

    def twos(self) -> Iterator[Draft]:
        """The same emoji twice, side by side."""
        for index in self._indices:
            for _ in range(self._count(8)):
                colour, phrase = self._choose_look(index)
                placement = self._place_pair()
                yield Draft(
                    self._write_captions(partial(captions.write_two, phrase, self._rng)),
                    (index, index),
                    placement,
                    (colour, colour),
                )

    def pairs(self) -> Iterator[Draft]:
        """Two random emoji side by side; those that make a clear motif more often."""
        weights = [PAIR_GROUP_WEIGHTS[entry.group] for entry in self._catalogue.emoji]
        count = self._count(60_000)
        lefts = self._rng.choices(self._indices, weights, k=count)
        rights = self._rng.choices(self._indices, weights, k=count)
        for left, right in zip(lefts, rights, strict=True):
            left_colour, left_phrase = self._choose_look(left)
            right_colour, right_phrase = self._choose_look(right)
            placement = self._place_pair()
            write = partial(captions.write_pair, left_phrase, right_phrase, self._rng)
            yield Draft(
                self._write_captions(write), (left, right), placement, (left_colour, right_colour)
            )

    def _count(self, full: int) -> int:
        return max(1, round(full * self._scale))

    def _describe_single(
        self,
        write: Callable[[], str],
        index: int,
        place: Placement,
        *,
        colour: int = -1,
        background: int = -1,
    ) -> Draft:
        return Draft(
            self._write_captions(write),
            (index, -1),
            (place, WHOLE_FRAME),
            (colour, -1),
            background,
        )

    def _write_captions(self, write: Callable[[], str]) -> tuple[str, ...]:
        return tuple(write() for _ in range(CAPTIONS_PER_PICTURE))

    def _write_plain(self, index: int) -> str:
        """A caption of the emoji as it is; now and then "yellow banana", if it looks like that."""
        catalogue, rng = self._catalogue, self._rng
        entry, own_colour = catalogue.emoji[index], catalogue.own_colour[index]
        if catalogue.colours[index] and own_colour >= 0 and rng.random() < _OWN_COLOUR_SHARE:
            coloured = captions.write_coloured(entry.names[0], COLOUR_WORDS[own_colour])
            if coloured not in catalogue.all_names:
                return coloured
        return captions.write_single(catalogue.choose_name(index, rng), entry.tags, rng)

    def _write_coloured(self, index: int, colour: str) -> str:
        phrase = self._catalogue.choose_coloured(index, colour, self._rng)
        return captions.write_phrase(phrase, self._rng)

    def _write_on_background(self, index: int, ground: str) -> str:
        name = self._catalogue.choose_name(index, self._rng)
        phrase = captions.write_phrase(name, self._rng)
        return captions.write_on_background(phrase, ground, self._rng)

    def _write_coloured_on_background(self, index: int, colour: str, ground: str) -> str:
        phrase = self._write_coloured(index, colour)
        return captions.write_on_background(phrase, ground, self._rng)

    def _choose_look(self, index: int) -> tuple[int, str]:
        """A colour index (-1: its own colours) and the phrase that goes with it."""
        colours = self._catalogue.trained_colours(index)
        if colours and self._rng.random() < _COLOURED_SHARE_IN_PAIRS:
            colour = self._rng.choice(colours)
            phrase = self._catalogue.choose_coloured(index, colour, self._rng)
            return COLOUR_WORDS.index(colour), phrase
        return -1, self._catalogue.choose_name(index, self._rng)

    def _place_single(self) -> Placement:
        size = self._rng.uniform(0.84, 1.0)
        free = (1 - size) / 2
        return 0.5 + self._rng.uniform(-free, free), 0.5 + self._rng.uniform(-free, free), size

    def _place_pair(self) -> tuple[Placement, Placement]:
        size = self._rng.uniform(0.48, 0.5)
        lift = self._rng.uniform(-0.015, 0.015)
        return (0.255, 0.5 + lift, size), (0.745, 0.5 - lift, size)
