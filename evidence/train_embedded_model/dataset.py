"""Reads the prepared folder and draws its pictures on the training device."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .compose import ColourProfile, Specs, compute_colour_profile, render

KINDS = ("plain", "recoloured", "background", "both", "two", "pair")


@dataclass(frozen=True)
class Dataset:
    """The prepared data, on one device.

    Attributes:
        art: (N, 4, 128, 128) uint8 RGBA.
        profile: What of each drawing may be recoloured.
        specs: Descriptions of all S pictures, kind after kind.
        sizes: Number of pictures of each of KINDS.
        caption_rows: (S, 2) int64, rows of ``tokens``.
        tokens: (C, 32) int64.
        emoji: Names, nouns and colours of the N emoji, as `prepare.py` wrote them.
        tokenizer: Folder of the tokenizer files.
    """

    art: Tensor
    profile: ColourProfile
    specs: Specs
    sizes: list[int]
    caption_rows: Tensor
    tokens: Tensor
    emoji: list[dict[str, Any]]
    tokenizer: Path

    def draw_plain(self) -> Tensor:
        """(N, 3, 128, 128) uint8: every emoji as drawn, on white."""
        count = len(self.art)
        device = self.art.device
        nothing = torch.full((count, 2), -1, device=device)
        specs = Specs(
            emoji=torch.stack((torch.arange(count, device=device), nothing[:, 0]), 1),
            colour=nothing,
            placement=torch.tensor([0.5, 0.5, 1.0], device=device).expand(count, 2, 3),
            background=nothing[:, 0],
        )
        return self.draw(specs)

    def draw(self, specs: Specs, batch_size: int = 512) -> Tensor:
        """Draws pictures in batches; returns (len(specs), 3, 128, 128) uint8 on the same device."""
        pictures = torch.empty(
            (len(specs), 3, *self.art.shape[-2:]), dtype=torch.uint8, device=self.art.device
        )
        for begin in range(0, len(specs), batch_size):
            rows = slice(begin, begin + batch_size)
            pictures[rows] = render(self.art, self.profile, specs.select(rows))
        return pictures

    def thin_out(self, count: int) -> "Dataset":
        """The same with about ``count`` pictures, evenly from each kind; for smoke tests."""
        share = min(1.0, count / len(self.specs))
        rows, sizes, begin = [], [], 0
        for size in self.sizes:
            kept = min(size, max(1, round(size * share)))
            rows.append(begin + torch.arange(kept) * size // max(kept, 1))
            sizes.append(kept)
            begin += size
        chosen = torch.cat(rows).to(self.art.device)
        return replace(
            self,
            specs=self.specs.select(chosen),
            sizes=sizes,
            caption_rows=self.caption_rows[chosen],
        )


def read_dataset(folder: Path, device: torch.device) -> Dataset:
    """Reads what `prepare.py` wrote."""
    art = torch.from_numpy(np.load(folder / "art.npz")["art"]).permute(0, 3, 1, 2).contiguous()
    arrays = np.load(folder / "specs.npz")
    specs = Specs(
        emoji=torch.from_numpy(arrays["emoji"]).long(),
        colour=torch.from_numpy(arrays["colour"]).long(),
        placement=torch.from_numpy(arrays["placement"]).float(),
        background=torch.from_numpy(arrays["background"]).long(),
    )
    return Dataset(
        art=art.to(device),
        profile=compute_colour_profile(art.float() / 255).to(device),
        specs=specs.to(device),
        sizes=arrays["sizes"].tolist(),
        caption_rows=torch.from_numpy(arrays["caption_rows"]).long().to(device),
        tokens=torch.from_numpy(arrays["tokens"]).long().to(device),
        emoji=json.loads((folder / "emoji.json").read_text(encoding="utf-8")),
        tokenizer=folder / "tokenizer",
    )
