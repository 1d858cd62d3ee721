"""Draws up the training set on a CPU: art, picture descriptions, captions and tokenizer, in one small folder.

Written files: ``art.npz`` (drawings), ``specs.npz`` (picture descriptions and tokens), ``emoji.json`` (names and
what may be recoloured), ``tokenizer/``. Pictures themselves are drawn later, on the GPU.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import captions
from .art import Emoji, fetch_packages, find_duplicates, rasterise, read_emoji
from .colours import BACKGROUND_WORDS, COLOUR_WORDS, compute_noun, is_held_out
from .compose import NONE, compute_colour_profile, compute_own_colour
from .dataset import KINDS
from .tokenizer import encode_captions, train_tokenizer

CAPTIONS_PER_PICTURE = 2
_NEVER_RECOLOURED_GROUPS = (1, 8)  # people and hands; signs and symbols
_PAIR_GROUP_WEIGHTS = {0: 1.5, 1: 0.6, 3: 3.0, 4: 3.0, 5: 2.5, 6: 2.0, 7: 2.0, 8: 0.4}
Placement = tuple[float, float, float]


@dataclass
class Catalogue:
    """What may be combined with what.

    Attributes:
        emoji: all drawings that are kept.
        own_colour: per emoji, index of its own main colour, -1 for none.
        colours: per emoji, the colour words that it may be moved to, held-out ones included.
        noun_owner: noun -> the one emoji that it stands for when a colour word is put before it.
    """

    emoji: list[Emoji]
    own_colour: list[int]
    colours: list[list[str]]
    noun_owner: dict[str, int]
    all_names: set[str]

    def noun(self, index: int) -> str:
        return compute_noun(self.emoji[index].names[0])

    def trained_colours(self, index: int) -> list[str]:
        return [c for c in self.colours[index] if not is_held_out(self.noun(index), f"colour:{c}")]

    def trained_backgrounds(self, index: int) -> list[str]:
        return [b for b in BACKGROUND_WORDS if not is_held_out(self.noun(index), f"background:{b}")]

    def choose_coloured(self, index: int, colour: str, rng: random.Random) -> str:
        """A phrase such as "blue apple", from any name whose noun stands for this emoji alone."""
        names = [
            name
            for name in self.emoji[index].names
            if self.noun_owner.get(compute_noun(name)) == index
            and captions.write_coloured(name, colour) not in self.all_names
        ]
        return captions.write_coloured(captions.choose_name(tuple(names), rng), colour)


@dataclass
class Drafts:
    """Picture descriptions while they are being drawn up, one list entry a picture."""

    emoji: list[tuple[int, int]] = field(default_factory=list)
    colour: list[tuple[int, int]] = field(default_factory=list)
    placement: list[tuple[Placement, Placement]] = field(default_factory=list)
    background: list[int] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)

    def add(
        self,
        write: Callable[[], str],
        emoji: tuple[int, int],
        placement: tuple[Placement, Placement],
        colour: tuple[int, int] = (-1, -1),
        background: int = -1,
    ) -> None:
        self.emoji.append(emoji)
        self.colour.append(colour)
        self.placement.append(placement)
        self.background.append(background)
        self.captions.append(tuple(write() for _ in range(CAPTIONS_PER_PICTURE)))


def build_catalogue(emoji: list[Emoji], modes: list[int], own_colour: list[int]) -> Catalogue:
    """Decides which (emoji, colour) captions are unambiguous."""
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
        usable = modes[index] != NONE and owner[noun] == index and noun not in COLOUR_WORDS
        usable = usable and entry.group not in _NEVER_RECOLOURED_GROUPS
        own = COLOUR_WORDS[own_colour[index]] if own_colour[index] >= 0 else ""
        colours.append(
            [c for c in COLOUR_WORDS if usable and c != own and f"{c} {noun}" not in all_names] if usable else []
        )
    return Catalogue(emoji, own_colour, colours, owner, all_names)


def draw_up(catalogue: Catalogue, seed: int, scale: float) -> tuple[Drafts, list[int]]:
    """Draws up all pictures, kind after kind.

    Args:
        catalogue: what may be combined.
        seed: of everything random.
        scale: share of the full number of pictures a kind, (0, 1].

    Returns:
        The drafts, and how many there are of each of KINDS.
    """
    rng = random.Random(seed)
    drafts = Drafts()
    sizes: list[int] = []
    repeats: Callable[[int], int] = lambda count: max(1, round(count * scale))  # noqa: E731
    indices = range(len(catalogue.emoji))
    coloured = [i for i in indices if catalogue.trained_colours(i)]
    nowhere = (0.5, 0.5, 1.0)

    def close(begin: int) -> int:
        sizes.append(len(drafts.emoji) - begin)
        return len(drafts.emoji)

    for i in indices:
        for repeat in range(repeats(40)):
            place = nowhere if repeat % 10 == 0 else _place_single(rng)
            drafts.add(lambda i=i: _write_plain(catalogue, i, rng), (i, -1), (place, nowhere))  # type: ignore[misc]
    begin = close(0)
    for i in coloured:
        for word in catalogue.trained_colours(i):
            for _ in range(repeats(4)):
                drafts.add(
                    lambda i=i, w=word: captions.write_phrase(catalogue.choose_coloured(i, w, rng), rng),  # type: ignore[misc]
                    (i, -1), (_place_single(rng), nowhere), (COLOUR_WORDS.index(word), -1),
                )  # fmt: skip
    begin = close(begin)
    for i in indices:
        for word in catalogue.trained_backgrounds(i):
            for _ in range(repeats(2)):
                drafts.add(
                    lambda i=i, w=word: captions.write_on_background(  # type: ignore[misc]
                        captions.write_phrase(captions.choose_name(catalogue.emoji[i].names, rng), rng), w, rng
                    ),
                    (i, -1), (_place_single(rng), nowhere), background=BACKGROUND_WORDS.index(word),
                )  # fmt: skip
    begin = close(begin)
    for _ in range(repeats(16_000) if coloured else 0):
        i = rng.choice(coloured)
        colour = rng.choice(catalogue.trained_colours(i))
        ground = rng.choice([word for word in catalogue.trained_backgrounds(i) if word != colour])
        drafts.add(
            lambda i=i, c=colour, g=ground: captions.write_on_background(  # type: ignore[misc]
                captions.write_phrase(catalogue.choose_coloured(i, c, rng), rng), g, rng
            ),
            (i, -1), (_place_single(rng), nowhere), (COLOUR_WORDS.index(colour), -1), BACKGROUND_WORDS.index(ground),
        )  # fmt: skip
    begin = close(begin)
    for i in indices:
        for _ in range(repeats(8)):
            colour_index, phrase = _choose_look(catalogue, i, rng, 0.15)
            drafts.add(
                lambda p=phrase: captions.write_two(p, rng),  # type: ignore[misc]
                (i, i), _place_pair(rng), (colour_index, colour_index),
            )  # fmt: skip
    begin = close(begin)
    weights = [_PAIR_GROUP_WEIGHTS[entry.group] for entry in catalogue.emoji]
    lefts, rights = (rng.choices(indices, weights, k=repeats(60_000)) for _ in range(2))
    for i, j in zip(lefts, rights, strict=True):
        left_colour, left = _choose_look(catalogue, i, rng, 0.15)
        right_colour, right = _choose_look(catalogue, j, rng, 0.15)
        drafts.add(
            lambda a=left, b=right: captions.write_pair(a, b, rng),  # type: ignore[misc]
            (i, j), _place_pair(rng), (left_colour, right_colour),
        )  # fmt: skip
    close(begin)
    return drafts, sizes


def prepare(packages: Path, folder: Path, seed: int = 0, limit: int | None = None) -> None:
    """Does all of the data work; see the module's docstring for what it writes.

    Args:
        packages: where the npm packages are, or go.
        folder: where the prepared data goes.
        seed: of the picture descriptions and captions.
        limit: for a smoke test: this many emoji and few pictures of each.
    """
    fetch_packages(packages)
    emoji, documents = read_emoji(packages)
    if limit is not None:
        step = max(1, len(emoji) // limit)
        emoji, documents = emoji[::step][:limit], documents[::step][:limit]
    art = np.stack([rasterise(document) for document in documents])
    duplicates = set(find_duplicates(art))
    kept = [index for index in range(len(emoji)) if index not in duplicates]
    emoji, art = [emoji[index] for index in kept], art[kept]
    profile = compute_colour_profile(torch.from_numpy(art).permute(0, 3, 1, 2).float() / 255)
    catalogue = build_catalogue(emoji, profile.mode.tolist(), compute_own_colour(profile).tolist())
    drafts, sizes = draw_up(catalogue, seed, 1.0 if limit is None else 0.02)
    unique: dict[str, int] = {}
    caption_rows = [[unique.setdefault(text, len(unique)) for text in row] for row in drafts.captions]
    folder.mkdir(parents=True, exist_ok=True)
    size = train_tokenizer(unique, folder / "tokenizer")
    tokens = encode_captions(list(unique), folder / "tokenizer")
    np.savez_compressed(folder / "art.npz", art=art)
    np.savez_compressed(
        folder / "specs.npz",
        emoji=np.asarray(drafts.emoji, np.int16), colour=np.asarray(drafts.colour, np.int8),
        placement=np.asarray(drafts.placement, np.float16), background=np.asarray(drafts.background, np.int8),
        sizes=np.asarray(sizes, np.int64), caption_rows=np.asarray(caption_rows, np.int32), tokens=tokens,
    )  # fmt: skip
    described = [
        {
            "hexcode": entry.hexcode, "names": entry.names, "group": entry.group, "noun": catalogue.noun(index),
            "colours": catalogue.colours[index], "own_colour": catalogue.own_colour[index],
        }
        for index, entry in enumerate(emoji)
    ]  # fmt: skip
    (folder / "emoji.json").write_text(json.dumps(described, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(emoji)} emoji ({len(duplicates)} near-duplicates dropped), {len(drafts.emoji)} pictures", flush=True)
    print(f"pictures of each kind: {dict(zip(KINDS, sizes, strict=True))}; {len(unique)} captions, {size} tokens")


def _place_single(rng: random.Random) -> Placement:
    size = rng.uniform(0.84, 1.0)
    free = (1 - size) / 2
    return 0.5 + rng.uniform(-free, free), 0.5 + rng.uniform(-free, free), size


def _place_pair(rng: random.Random) -> tuple[Placement, Placement]:
    size = rng.uniform(0.48, 0.5)
    lift = rng.uniform(-0.015, 0.015)
    return (0.255, 0.5 + lift, size), (0.745, 0.5 - lift, size)


def _choose_look(catalogue: Catalogue, index: int, rng: random.Random, share: float) -> tuple[int, str]:
    """A colour index (-1: its own colours) and the phrase that goes with it."""
    words = catalogue.trained_colours(index)
    if words and rng.random() < share:
        word = rng.choice(words)
        return COLOUR_WORDS.index(word), catalogue.choose_coloured(index, word, rng)
    return -1, captions.choose_name(catalogue.emoji[index].names, rng)


def _write_plain(catalogue: Catalogue, index: int, rng: random.Random) -> str:
    """A caption of the emoji as it is; "yellow banana" in a few draws, where that is what it looks like."""
    entry = catalogue.emoji[index]
    if catalogue.colours[index] and catalogue.own_colour[index] >= 0 and rng.random() < 0.04:
        coloured = captions.write_coloured(entry.names[0], COLOUR_WORDS[catalogue.own_colour[index]])
        if coloured not in catalogue.all_names:
            return coloured
    return captions.write_single(captions.choose_name(entry.names, rng), entry.tags, rng)
