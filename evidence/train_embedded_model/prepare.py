"""Prepares the training data on a CPU: art, picture descriptions, captions and tokenizer.

Everything goes into one small folder: ``art.npz`` (drawings), ``specs.npz`` (picture descriptions
and tokens), ``emoji.json`` (names and what may be recoloured) and ``tokenizer/``. The pictures
themselves are drawn later, on the GPU.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .art import Emoji, fetch_packages, find_duplicates, rasterise, read_emoji
from .catalogue import Catalogue, build_catalogue
from .compose import compute_colour_profile, compute_own_colour
from .dataset import KINDS
from .drafts import draw_up
from .tokenizer import encode_captions, train_tokenizer

SMOKE_TEST_SCALE = 0.02


def prepare(packages: Path, folder: Path, seed: int = 0, limit: int | None = None) -> None:
    """Does all of the data work; see the module's docstring for what it writes.

    Args:
        packages: Where the npm packages are, or go.
        folder: Where the prepared data goes.
        seed: Of the picture descriptions and captions.
        limit: For a smoke test: this many emoji and few pictures of each.
    """
    fetch_packages(packages)
    emoji, documents = read_emoji(packages)
    if limit is not None:
        step = max(1, len(emoji) // limit)
        emoji, documents = emoji[::step][:limit], documents[::step][:limit]
    art = np.stack([rasterise(document) for document in documents])
    duplicates = set(find_duplicates(art))
    kept = [index for index in range(len(emoji)) if index not in duplicates]
    print(f"{len(kept)} emoji ({len(duplicates)} near-duplicates dropped)", flush=True)
    scale = 1.0 if limit is None else SMOKE_TEST_SCALE
    write_dataset([emoji[index] for index in kept], art[kept], folder, seed, scale)


def write_dataset(
    emoji: Sequence[Emoji], art: NDArray[np.uint8], folder: Path, seed: int, scale: float
) -> None:
    """Draws up the pictures and their captions, learns the tokenizer and writes the folder.

    Args:
        emoji: Their names.
        art: (N, 128, 128, 4) uint8 RGBA, straight alpha; the drawings of the same N emoji.
        folder: Where the prepared data goes.
        seed: Of the picture descriptions and captions.
        scale: Share of the full number of pictures of each kind, (0, 1].
    """
    profile = compute_colour_profile(torch.from_numpy(art).permute(0, 3, 1, 2).float() / 255)
    own_colour = compute_own_colour(profile).tolist()
    catalogue = build_catalogue(emoji, profile.mode.tolist(), own_colour)
    drafts, sizes = draw_up(catalogue, seed, scale)
    rows: dict[str, int] = {}
    caption_rows = [
        [rows.setdefault(text, len(rows)) for text in draft.captions] for draft in drafts
    ]
    folder.mkdir(parents=True, exist_ok=True)
    size = train_tokenizer(rows, folder / "tokenizer")
    np.savez_compressed(folder / "art.npz", art=art)
    np.savez_compressed(
        folder / "specs.npz",
        emoji=np.asarray([draft.emoji for draft in drafts], np.int16),
        colour=np.asarray([draft.colour for draft in drafts], np.int8),
        placement=np.asarray([draft.placement for draft in drafts], np.float16),
        background=np.asarray([draft.background for draft in drafts], np.int8),
        sizes=np.asarray(sizes, np.int64),
        caption_rows=np.asarray(caption_rows, np.int32),
        tokens=encode_captions(list(rows), folder / "tokenizer"),
    )
    described = json.dumps(_describe(catalogue), ensure_ascii=False)
    (folder / "emoji.json").write_text(described + "\n", encoding="utf-8")
    kinds = dict(zip(KINDS, sizes, strict=True))
    print(f"{len(drafts)} pictures: {kinds}; {len(rows)} captions, {size} tokens", flush=True)


def _describe(catalogue: Catalogue) -> list[dict[str, object]]:
    """What `dataset.Dataset.emoji` holds."""
    return [
        {
            "hexcode": entry.hexcode,
            "names": entry.names,
            "group": entry.group,
            "noun": catalogue.noun(index),
            "colours": catalogue.colours[index],
            "own_colour": catalogue.own_colour[index],
        }
        for index, entry in enumerate(catalogue.emoji)
    ]
