"""Which emoji may be given which colour or background, and what the result is called. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import captions
from .art import Emoji
from .colours import BACKGROUND_WORDS, COLOUR_WORDS, compute_noun, is_held_out
from .compose import NONE

_NEVER_RECOLOURED_GROUPS = (1, 8)  # people and hands; signs and symbols


@dataclass(frozen=True)
class Catalogue:
    """What may be combined with what.

    Attributes:
        emoji: All drawings that are kept.
        own_colour: For each emoji, index of its own main colour; -1 for none.
        colours: For each emoji, the colour words that it may be moved to, held-out ones included.
        noun_owner: Noun -> the one emoji that it stands for when a colour word is put before it.
        all_names: Every name of every emoji.
    """

    emoji: Sequence[Emoji]
    own_colour: Sequence[int]
    colours: Sequence[Sequence[str]]
    noun_owner: dict[str, int]
    all_names: set[str]

    def noun(self, index: int) -> str:
        """The label without colour words."""
        return compute_noun(self.emoji[index].names[0])

    def trained_colours(self, index: int) -> list[str]:
        """The colours that are not held out."""
        return [c for c in self.colours[index] if not is_held_out(self.noun(index), f"colour:{c}")]

    def trained_backgrounds(self, index: int) -> list[str]:
        """The backgrounds that are not held out."""
        return [b for b in BACKGROUND_WORDS if not is_held_out(self.noun(index), f"background:{b}")]

    def choose_name(self, index: int, rng: random.Random) -> str:
        """One of its names."""
        return captions.choose_name(self.emoji[index].names, rng)

    def choose_coloured(self, index: int, colour: str, rng: random.Random) -> str:
        """A phrase such as "blue apple", from a name whose noun stands for this emoji alone."""
        names = [
            name
            for name in self.emoji[index].names
            if self.noun_owner.get(compute_noun(name)) == index
            and captions.write_coloured(name, colour) not in self.all_names
        ]
        return captions.write_coloured(captions.choose_name(tuple(names), rng), colour)


def build_catalogue(
    emoji: Sequence[Emoji], modes: Sequence[int], own_colour: Sequence[int]
) -> Catalogue:
    """Decides which (emoji, colour) captions are unambiguous.

    Args:
        emoji: All drawings that are kept.
        modes: For each emoji, `ColourProfile.mode`.
        own_colour: For each emoji, index of its own main colour; -1 for none.
    """
    all_names = {name for entry in emoji for name in entry.names}
    owner: dict[str, int] = {}
    for index, entry in enumerate(emoji):
        owner.setdefault(compute_noun(entry.names[0]), index)
    for index, entry in enumerate(emoji):
        for name in entry.names[1:]:
            owner.setdefault(compute_noun(name), index)
    colours: list[list[str]] = []
    for index, entry in enumerate(emoji):
        noun = compute_noun(entry.names[0])
        usable = (
            modes[index] != NONE
            and owner[noun] == index
            and noun not in COLOUR_WORDS
            and entry.group not in _NEVER_RECOLOURED_GROUPS
        )
        own = COLOUR_WORDS[own_colour[index]] if own_colour[index] >= 0 else ""
        colours.append(
            [c for c in COLOUR_WORDS if usable and c != own and f"{c} {noun}" not in all_names]
        )
    return Catalogue(emoji, own_colour, colours, owner, all_names)
