"""Measures the exported pipeline: does each prompt give the right emoji, colour, background, pair?

Every figure is a rank by pixel distance at 32x32 against pictures drawn from the emoji art. It says
whether the motif is recognisable to a nearest-neighbour judge, not whether the picture is good.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch import Tensor

from .autoencoder import decode_latents, encode_pictures
from .colours import BACKGROUND_WORDS, BACKGROUNDS, COLOUR_WORDS, compute_noun, is_held_out
from .compose import Specs
from .dataset import Dataset

STEPS, GUIDANCE = 20, 5.0


@dataclass
class Generator:
    """The exported folder, loaded the way a user loads it, making pictures in batches."""

    pipeline: Any
    batch_size: int = 256
    steps: int = STEPS
    guidance: float = GUIDANCE

    def generate(self, prompts: Sequence[str], seed: int = 0) -> Tensor:
        """Makes one picture of each prompt; the noise of prompt i depends on ``seed + i`` alone.

        Returns:
            (len(prompts), 3, 128, 128) uint8, on the CPU.
        """
        parts = []
        for begin in range(0, len(prompts), self.batch_size):
            batch = list(prompts[begin : begin + self.batch_size])
            noise = torch.stack(
                [
                    torch.randn(
                        (4, 16, 16), generator=torch.Generator().manual_seed(seed + begin + i)
                    )
                    for i in range(len(batch))
                ]
            )
            output = self.pipeline(
                batch,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                output_type="pt",
                latents=noise.to(self.pipeline.device, self.pipeline.unet.dtype),
            )
            parts.append((output.images.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(parts)


def load_generator(
    folder: Path, device: torch.device, steps: int = STEPS, guidance: float = GUIDANCE
) -> Generator:
    """Loads the folder with plain ``from_pretrained``: float16 on CUDA, float32 elsewhere."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder))
    pipeline.to(device, dtype, silence_dtype_warnings=True)
    pipeline.set_progress_bar_config(disable=True)
    return Generator(pipeline, 256 if device.type == "cuda" else 8, steps, guidance)


def measure_autoencoder(vae: AutoencoderKL, plain: Tensor) -> dict[str, float]:
    """PSNR and SSIM of the round trip.

    Args:
        vae: float32.
        plain: (N, 3, 128, 128) uint8, on the model's device.
    """
    restored = decode_latents(vae, encode_pictures(vae, plain))
    error = (restored.float() - plain.float()).square().mean((1, 2, 3)).clamp_min(1e-3)
    psnr = 10 * torch.log10(255**2 / error)
    ssim = torch.cat(
        [
            compute_gaussian_ssim(a, b)
            for a, b in zip(plain.split(64), restored.split(64), strict=True)
        ]
    )
    return {
        "psnr_db": float(psnr.mean()),
        "psnr_p5_db": float(psnr.quantile(0.05)),
        "ssim": float(ssim.mean()),
        "images": float(len(psnr)),
    }


def compute_gaussian_ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of each picture, Gaussian window of 11 and sigma 1.5, mean over channels.

    Both are (B, 3, H, W) uint8.

    Source: Wang et al. 2004; the same as scikit-image's with ``gaussian_weights=True``, which a
    test holds it to.
    """
    offsets = torch.arange(11, device=a.device) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2)).double()
    kernel = (torch.outer(line, line) / line.sum() ** 2)[None, None]

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], kernel)[:, 0].unflatten(0, x.shape[:2])

    x, y = a.double(), b.double()
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x.square(), blur(y * y) - mean_y.square()
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    score = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2)
    )
    return score.mean((1, 2, 3))


def measure_names(
    generator: Generator, data: Dataset, prompts: Sequence[str], targets: Sequence[int]
) -> dict[str, Any]:
    """Rank of the right emoji among all of them for each prompt.

    Args:
        generator: Makes the pictures.
        data: The emoji.
        prompts: One a picture.
        targets: Index of the right emoji, one a prompt.
    """
    references = _shrink(data.draw_plain(), 32)
    ranks = compute_ranks(
        _shrink(generator.generate(prompts), 32), references, torch.tensor(targets)
    )
    missed = [(prompts[i], int(ranks[i])) for i in (ranks > 1).nonzero()[:, 0].tolist()]
    return {
        "prompts": len(prompts),
        "top1_percent": _percent(ranks == 1),
        "top5_percent": _percent(ranks <= 5),
        "worst_rank": int(ranks.max()),
        "missed": missed[:120],
    }


def measure_held_out(generator: Generator, data: Dataset, count: int, seed: int) -> dict[str, Any]:
    """Colours and backgrounds that were never trained with that noun.

    Args:
        generator: Makes the pictures.
        data: The emoji.
        count: Prompts of each sort, at most.
        seed: Chooses the prompts.
    """
    rng = random.Random(seed)
    coloured = [
        (index, colour)
        for index, entry in enumerate(data.emoji)
        for colour in entry["colours"]
        if is_held_out(entry["noun"], f"colour:{colour}")
    ]
    grounded = [
        (index, ground)
        for index, entry in enumerate(data.emoji)
        for ground in BACKGROUND_WORDS
        if is_held_out(entry["noun"], f"background:{ground}")
    ]
    figures: dict[str, Any] = {}
    chosen = rng.sample(coloured, min(count, len(coloured)))
    if chosen:
        figures |= _measure_colours(generator, data, chosen)
    chosen = rng.sample(grounded, min(count, len(grounded)))
    if chosen:
        figures |= _measure_backgrounds(generator, data, chosen)
    return figures


def measure_pairs(generator: Generator, data: Dataset, count: int, seed: int) -> dict[str, Any]:
    """Prompts "A and B": rank of A in the left half and of B in the right, each among all emoji."""
    rng = random.Random(seed)
    usable = [i for i, entry in enumerate(data.emoji) if entry["group"] in (3, 4, 5, 6, 7)]
    chosen = [(rng.choice(usable), rng.choice(usable)) for _ in range(count)]
    names = [(data.emoji[i]["names"][0], data.emoji[j]["names"][0]) for i, j in chosen]
    pictures = generator.generate([f"{a} and {b}" for a, b in names])
    references = _shrink(data.draw_plain(), 32)
    left = _shrink(pictures[:, :, 32:96, 0:64], 32)
    right = _shrink(pictures[:, :, 32:96, 64:128], 32)
    ranks = torch.stack(
        [
            compute_ranks(half, references, torch.tensor([pair[side] for pair in chosen]))
            for side, half in enumerate((left, right))
        ]
    )
    return {
        "prompts": count,
        "left_top1_percent": _percent(ranks[0] == 1),
        "right_top1_percent": _percent(ranks[1] == 1),
        "both_top1_percent": _percent((ranks == 1).all(0)),
        "both_top5_percent": _percent((ranks <= 5).all(0)),
    }


def measure_pipeline(
    generator: Generator,
    data: Dataset,
    seed: int,
    count: int,
    log: Callable[[str], None],
    name_count: int | None = None,
) -> dict[str, Any]:
    """All figures of the generator.

    Args:
        generator: Makes the pictures.
        data: The emoji.
        seed: Chooses the prompts.
        count: Prompts of every sort but the names.
        log: Takes one line.
        name_count: How many of the names; None for all.
    """
    limit = len(data.emoji) if name_count is None else min(len(data.emoji), name_count)
    labels = [entry["names"][0] for entry in data.emoji]
    names = measure_names(generator, data, labels[:limit], range(limit))
    log(_format_ranks("names", names["top1_percent"], names["top5_percent"]))
    aliases = [i for i, entry in enumerate(data.emoji) if len(entry["names"]) > 1]
    aliases = random.Random(seed).sample(aliases, min(2 * count, len(aliases)))
    alias = (
        measure_names(generator, data, [data.emoji[i]["names"][-1] for i in aliases], aliases)
        if aliases
        else None
    )
    pairs = measure_pairs(generator, data, count, seed)
    log(_format_ranks("pairs, both halves", pairs["both_top1_percent"], pairs["both_top5_percent"]))
    held_out = measure_held_out(generator, data, count, seed)
    log(f"held out: {held_out}")
    return {
        "steps": generator.steps,
        "guidance_scale": generator.guidance,
        "names": names,
        "aliases": alias,
        "pairs": pairs,
        "held_out": held_out,
    }


def compute_ranks(pictures: Tensor, references: Tensor, targets: Tensor) -> Tensor:
    """Rank of the right reference by distance: 1 + how many references are nearer.

    Args:
        pictures: (B, D) float.
        references: (N, D) float.
        targets: (B,) int64, index of the right reference of each picture.

    Returns:
        (B,) int64.
    """
    distances = torch.cdist(pictures, references)
    own = distances.gather(1, targets[:, None])
    return 1 + (distances < own).sum(1)


def _measure_colours(
    generator: Generator, data: Dataset, chosen: Sequence[tuple[int, str]]
) -> dict[str, Any]:
    """The right colour among that emoji's looks; the right emoji among all of that colour."""
    prompts = [f"{colour} {compute_noun(data.emoji[i]['names'][0])}" for i, colour in chosen]
    pictures = _shrink(generator.generate(prompts), 32)
    looks = [
        _shrink(_draw(data, [(i, colour, -1) for i in range(len(data.emoji))]), 32)
        for colour in range(len(COLOUR_WORDS))
    ]
    right_colour, right_emoji = [], []
    for picture, (i, word) in zip(pictures.split(1), chosen, strict=True):
        wanted = COLOUR_WORDS.index(word)
        own_looks = torch.stack([look[i] for look in looks])
        right_colour.append(int(torch.cdist(picture, own_looks).argmin()) == wanted)
        right_emoji.append(int(torch.cdist(picture, looks[wanted]).argmin()) == i)
    return {
        "colour_prompts": len(chosen),
        "colour_right_percent": _percent(torch.tensor(right_colour)),
        "colour_emoji_top1_percent": _percent(torch.tensor(right_emoji)),
    }


def _measure_backgrounds(
    generator: Generator, data: Dataset, chosen: Sequence[tuple[int, str]]
) -> dict[str, Any]:
    """The right colour in the corners; the right emoji among all on that background."""
    full = generator.generate(
        [f"{data.emoji[i]['names'][0]} on a {ground} background" for i, ground in chosen]
    )
    pictures = _shrink(full, 32)
    table = torch.tensor([(255, 255, 255), *(rgb for _, rgb in BACKGROUNDS)]).float()
    corners = torch.stack([full[..., y, x].float() for y in (3, -4) for x in (3, -4)])
    right_ground = torch.cdist(corners.median(0).values, table).argmin(1) - 1
    wanted = [BACKGROUND_WORDS.index(ground) for _, ground in chosen]
    looks = {
        ground: _shrink(_draw(data, [(i, -1, ground) for i in range(len(data.emoji))]), 32)
        for ground in set(wanted)
    }
    right_emoji = [
        int(torch.cdist(picture, looks[ground]).argmin()) == i
        for picture, ground, (i, _) in zip(pictures.split(1), wanted, chosen, strict=True)
    ]
    return {
        "background_prompts": len(chosen),
        "background_right_percent": _percent(right_ground == torch.tensor(wanted)),
        "background_emoji_top1_percent": _percent(torch.tensor(right_emoji)),
    }


def _draw(data: Dataset, looks: Sequence[tuple[int, int, int]]) -> Tensor:
    """Draws (emoji, colour, background) triples at full size, uint8."""
    device = data.art.device
    triples = torch.tensor(looks, device=device)
    nothing = torch.full_like(triples[:, 0], -1)
    specs = Specs(
        emoji=torch.stack((triples[:, 0], nothing), 1),
        colour=torch.stack((triples[:, 1], nothing), 1),
        placement=torch.tensor([0.5, 0.5, 1.0], device=device).expand(len(triples), 2, 3),
        background=triples[:, 2],
    )
    return data.draw(specs)


def _shrink(pictures: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to (B, 3 size size) float on the CPU, by area."""
    parts = [
        F.adaptive_avg_pool2d(part.float(), size).flatten(1).cpu() for part in pictures.split(256)
    ]
    return torch.cat(parts)


def _format_ranks(name: str, top1_percent: float, top5_percent: float) -> str:
    return f"{name}: top-1 {top1_percent:.1f} %, top-5 {top5_percent:.1f} %"


def _percent(right: Tensor) -> float:
    return 100 * float(right.float().mean())
