"""Measures the exported pipeline: does each prompt give the right emoji, colour, background, pair?

Every figure is a rank by pixel distance at 32x32 (or smaller) against pictures drawn from the emoji art. It says
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
        """(len(prompts), 3, 128, 128) uint8 on the CPU; the noise of prompt i depends on ``seed + i`` alone."""
        parts = []
        for begin in range(0, len(prompts), self.batch_size):
            batch = list(prompts[begin : begin + self.batch_size])
            noise = torch.stack(
                [
                    torch.randn((4, 16, 16), generator=torch.Generator().manual_seed(seed + begin + i))
                    for i in range(len(batch))
                ]
            )
            output = self.pipeline(
                batch, num_inference_steps=self.steps, guidance_scale=self.guidance, output_type="pt",
                latents=noise.to(self.pipeline.device, self.pipeline.unet.dtype),
            )  # fmt: skip
            parts.append((output.images.float() * 255).round().clamp(0, 255).to(torch.uint8).cpu())
        return torch.cat(parts)


def load_generator(folder: Path, device: torch.device) -> Generator:
    """Loads the folder with plain ``from_pretrained``: float16 on CUDA, float32 elsewhere."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    pipeline = StableDiffusionPipeline.from_pretrained(str(folder), torch_dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return Generator(pipeline, batch_size=256 if device.type == "cuda" else 8)


def measure_autoencoder(vae: AutoencoderKL, plain: Tensor) -> dict[str, float]:
    """PSNR and SSIM of the round trip.

    Args:
        vae: float32.
        plain: (N, 3, 128, 128) uint8, on the model's device.
    """
    restored = decode_latents(vae, encode_pictures(vae, plain))
    error = (restored.float() - plain.float()).square().mean((1, 2, 3)).clamp_min(1e-3)
    psnr = 10 * torch.log10(255**2 / error)
    ssim = torch.cat([compute_gaussian_ssim(a, b) for a, b in zip(plain.split(64), restored.split(64), strict=True)])
    return {
        "psnr_db": float(psnr.mean()), "psnr_p5_db": float(psnr.quantile(0.05)), "ssim": float(ssim.mean()),
        "images": float(len(psnr)),
    }  # fmt: skip


def compute_gaussian_ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM a picture, Gaussian window of 11 and sigma 1.5, mean over channels; both (B, 3, H, W) uint8.

    Source: Wang et al. 2004; the same as scikit-image's with ``gaussian_weights=True``, which a test holds it to.
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
        generator: makes the pictures.
        data: the emoji.
        prompts: one a picture.
        targets: index of the right emoji, one a prompt.
    """
    references = _shrink(data.draw_plain(), 32)
    ranks = _compute_ranks(_shrink(generator.generate(prompts), 32), references, torch.tensor(targets))
    missed = [(prompts[i], int(ranks[i])) for i in (ranks > 1).nonzero()[:, 0].tolist()]
    return {
        "prompts": len(prompts), "top1_percent": _percent(ranks == 1), "top5_percent": _percent(ranks <= 5),
        "worst_rank": int(ranks.max()), "missed": missed[:120],
    }  # fmt: skip


def measure_held_out(generator: Generator, data: Dataset, count: int, seed: int) -> dict[str, Any]:
    """Colours and backgrounds that were never trained with that noun.

    Args:
        generator: makes the pictures.
        data: the emoji.
        count: prompts of each sort, at most.
        seed: chooses the prompts.
    """
    rng = random.Random(seed)
    entries = list(enumerate(data.emoji))
    coloured = [(i, c) for i, e in entries for c in e["colours"] if is_held_out(e["noun"], f"colour:{c}")]
    grounded = [(i, b) for i, e in entries for b in BACKGROUND_WORDS if is_held_out(e["noun"], f"background:{b}")]
    result: dict[str, Any] = {}
    chosen = rng.sample(coloured, min(count, len(coloured)))
    if chosen:
        prompts = [f"{c} {compute_noun(data.emoji[i]['names'][0])}" for i, c in chosen]
        pictures = _shrink(generator.generate(prompts), 32)
        right_colour, right_emoji = [], []
        looks_of_all = [
            _shrink(_draw(data, [(j, look, -1) for j in range(len(data.emoji))]), 32)
            for look in range(len(COLOUR_WORDS))
        ]
        for picture, (i, c) in zip(pictures, chosen, strict=True):
            wanted = COLOUR_WORDS.index(c)
            looks = torch.stack([look[i] for look in looks_of_all])
            right_colour.append(int(_distances(picture[None], looks).argmin()) == wanted)
            right_emoji.append(int(_distances(picture[None], looks_of_all[wanted]).argmin()) == i)
        result |= {
            "colour_prompts": len(chosen), "colour_right_percent": _percent(torch.tensor(right_colour)),
            "colour_emoji_top1_percent": _percent(torch.tensor(right_emoji)),
        }  # fmt: skip
    chosen = rng.sample(grounded, min(count, len(grounded)))
    if chosen:
        full = generator.generate([f"{data.emoji[i]['names'][0]} on a {b} background" for i, b in chosen])
        pictures = _shrink(full, 32)
        table = torch.tensor([(255, 255, 255), *(rgb for _, rgb in BACKGROUNDS)]).float()
        corners = torch.stack([full[..., y, x].float() for y in (3, -4) for x in (3, -4)]).median(0).values
        right_ground = _distances(corners, table).argmin(1) - 1
        right_emoji = []
        grounds = {
            b: _shrink(_draw(data, [(j, -1, BACKGROUND_WORDS.index(b)) for j in range(len(data.emoji))]), 32)
            for b in {b for _, b in chosen}
        }
        for picture, (i, b) in zip(pictures, chosen, strict=True):
            right_emoji.append(int(_distances(picture[None], grounds[b]).argmin()) == i)
        wanted_grounds = torch.tensor([BACKGROUND_WORDS.index(b) for _, b in chosen])
        result |= {
            "background_prompts": len(chosen), "background_right_percent": _percent(right_ground == wanted_grounds),
            "background_emoji_top1_percent": _percent(torch.tensor(right_emoji)),
        }  # fmt: skip
    return result


def measure_pairs(generator: Generator, data: Dataset, count: int, seed: int) -> dict[str, Any]:
    """Prompts "A and B": rank of A in the left half and of B in the right half, each among all emoji."""
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
            _compute_ranks(half, references, torch.tensor([pair[side] for pair in chosen]))
            for side, half in enumerate((left, right))
        ]
    )
    return {
        "prompts": count, "left_top1_percent": _percent(ranks[0] == 1), "right_top1_percent": _percent(ranks[1] == 1),
        "both_top1_percent": _percent((ranks == 1).all(0)), "both_top5_percent": _percent((ranks <= 5).all(0)),
    }  # fmt: skip


def measure_pipeline(
    folder: Path, data: Dataset, device: torch.device, seed: int, count: int, log: Callable[[str], None],
    name_count: int | None = None,
) -> dict[str, Any]:
    """All figures of the generator; ``count`` bounds the prompts of every sort but the names (default: all)."""
    generator = load_generator(folder, device)
    limit = len(data.emoji) if name_count is None else min(len(data.emoji), name_count)
    labels = [entry["names"][0] for entry in data.emoji]
    names = measure_names(generator, data, labels[:limit], range(limit))
    log(f"names: top-1 {names['top1_percent']:.1f} %, top-5 {names['top5_percent']:.1f} % of {names['prompts']}")
    aliases = [i for i, entry in enumerate(data.emoji) if len(entry["names"]) > 1]
    aliases = random.Random(seed).sample(aliases, min(2 * count, len(aliases)))
    alias = measure_names(generator, data, [data.emoji[i]["names"][-1] for i in aliases], aliases) if aliases else None
    pairs = measure_pairs(generator, data, count, seed)
    log(f"pairs: both halves top-1 {pairs['both_top1_percent']:.1f} %, top-5 {pairs['both_top5_percent']:.1f} %")
    held_out = measure_held_out(generator, data, count, seed)
    log(f"held out: {held_out}")
    return {
        "steps": STEPS, "guidance_scale": GUIDANCE, "names": names, "aliases": alias, "pairs": pairs,
        "held_out": held_out,
    }  # fmt: skip


def _draw(data: Dataset, looks: Sequence[tuple[int, int, int]]) -> Tensor:
    """Draws (emoji, colour, background) triples at full size, uint8."""
    device = data.art.device
    triples = torch.tensor(looks, device=device)
    nothing = torch.full_like(triples[:, 0], -1)
    specs = Specs(
        emoji=torch.stack((triples[:, 0], nothing), 1), colour=torch.stack((triples[:, 1], nothing), 1),
        placement=torch.tensor([0.5, 0.5, 1.0], device=device).expand(len(triples), 2, 3), background=triples[:, 2],
    )  # fmt: skip
    return data.draw(specs)


def _shrink(pictures: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) uint8 to (B, 3 size size) float on the CPU, by area."""
    parts = [F.adaptive_avg_pool2d(part.float(), size).flatten(1).cpu() for part in pictures.split(256)]
    return torch.cat(parts)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b)


def _compute_ranks(pictures: Tensor, references: Tensor, targets: Tensor) -> Tensor:
    """1 + how many references are nearer than the right one."""
    distances = _distances(pictures, references)
    own = distances.gather(1, targets[:, None])
    return 1 + (distances < own).sum(1)


def _percent(right: Tensor) -> float:
    return 100 * float(right.float().mean())
