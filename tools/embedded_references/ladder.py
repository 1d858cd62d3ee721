"""Changes to a generation, from harmless to damaging, each held against the plain fp32 image."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from sdperf.models.loader import ResolvedModel, load_pipeline
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.scheduling import apply_scheduler
from sdperf.quality import compare_images, compute_entropy_bits
from sdperf.workload import ImageRequest, Workload

Images = list[np.ndarray]
LEGAL: Final = "legal"
CHANGE: Final = "change"


@dataclass(frozen=True)
class Rung:
    """One change and what it cost the images.

    Attributes:
        name: The change.
        sort: ``legal`` noise that must pass, or a ``change`` that the ladder places.
        precision: Whose floor it informs; ``None`` informs none.
        ssim_mean: Mean SSIM over the images.
        ssim_min: Lowest SSIM.
        psnr_db_mean: Mean PSNR over images that differ; ``None`` when all are identical.
        worst_tile_ssim_min: Lowest SSIM of any tile of any image.
        entropy_drop_bits_max: Largest loss of entropy; negative when none lost any.
        images: Number of images.
    """

    name: str
    sort: str
    precision: str | None
    ssim_mean: float
    ssim_min: float
    psnr_db_mean: float | None
    worst_tile_ssim_min: float
    entropy_drop_bits_max: float
    images: int


def compare(name: str, sort: str, precision: str | None, plain: Images, changed: Images) -> Rung:
    """Hold each changed image against its plain one."""
    scores = [compare_images(before, after) for before, after in zip(plain, changed, strict=True)]
    known_db = [score.psnr_db for score in scores if score.psnr_db is not None]
    drops = [
        compute_entropy_bits(before) - compute_entropy_bits(after)
        for before, after in zip(plain, changed, strict=True)
    ]
    return Rung(
        name=name,
        sort=sort,
        precision=precision,
        ssim_mean=round(statistics.fmean(score.ssim for score in scores), 5),
        ssim_min=round(min(score.ssim for score in scores), 5),
        psnr_db_mean=round(statistics.fmean(known_db), 1) if known_db else None,
        worst_tile_ssim_min=round(min(score.worst_tile.ssim for score in scores), 5),
        entropy_drop_bits_max=round(max(drops), 4),
        images=len(scores),
    )


class Generator:
    """Generates the same requests under one change at a time."""

    def __init__(
        self, model: ResolvedModel, workload: Workload, requests: Sequence[ImageRequest]
    ) -> None:
        self.model = model
        self.workload = workload
        self.requests = list(requests)
        self.plain_pipeline = self.load(torch.float32)

    def load(self, torch_dtype: torch.dtype) -> Any:
        """Load the pipeline; 16-bit weights in channels_last, a third of the time on a CPU."""
        pipeline = load_pipeline(self.model, torch_dtype=torch_dtype, device="cpu")
        if torch_dtype != torch.float32:
            pipeline.unet.to(memory_format=torch.channels_last)
            pipeline.vae.to(memory_format=torch.channels_last)
        return pipeline

    def draw(
        self, pipeline: Any = None, *, batch: int = 1, seed_shift: int = 0, **changes: Any
    ) -> Images:
        """Generate all requests; ``changes`` replace fields of the workload."""
        pipeline = pipeline or self.plain_pipeline
        workload = replace(self.workload, **changes)
        own_scheduler = pipeline.scheduler
        apply_scheduler(pipeline, workload.scheduler)
        stages = stages_for(pipeline, workload)
        images: Images = []
        try:
            for start in range(0, len(self.requests), batch):
                part = [
                    replace(request, seed=request.seed + seed_shift)
                    for request in self.requests[start : start + batch]
                ]
                pixels = stages.run_whole(
                    [request.prompt for request in part], stages.draw_noise(part)
                )
                images.extend(to_uint8(pixels))
        finally:
            pipeline.scheduler = own_scheduler
        return images

    def with_rounded_weights(self, bits: int) -> Any:
        """Load the pipeline with UNet weights rounded per output channel, computed in fp32."""
        pipeline = self.load(torch.float32)
        levels = 2 ** (bits - 1) - 1
        with torch.no_grad():
            for parameter in pipeline.unet.parameters():
                if parameter.ndim >= 2:
                    flat = parameter.flatten(1)
                    scale = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / levels
                    parameter.copy_((flat / scale).round().mul(scale).view_as(parameter))
        return pipeline


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with another number of operator threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_ladder(
    generator: Generator, plain: Images, progress: Callable[[str], None]
) -> list[Rung]:
    """Measure every rung against the plain images."""
    draw = generator.draw

    def other_threads() -> Images:
        with threads(1 if torch.get_num_threads() > 1 else 2):
            return draw()

    def other_kernels() -> Images:
        with torch.backends.mkldnn.flags(enabled=False):
            return draw()

    rungs: list[tuple[str, str, str | None, Callable[[], Images]]] = [
        ("the same again", LEGAL, "fp32", draw),
        ("another thread count", LEGAL, "fp32", other_threads),
        ("without oneDNN", LEGAL, "fp32", other_kernels),
        ("batch of 8", LEGAL, "fp32", lambda: draw(batch=8)),
        ("fp16", LEGAL, "fp16", lambda: draw(generator.load(torch.float16))),
        ("bf16", LEGAL, "bf16", lambda: draw(generator.load(torch.bfloat16))),
        ("int8 weights", CHANGE, None, lambda: draw(generator.with_rounded_weights(8))),
        ("int4 weights", CHANGE, None, lambda: draw(generator.with_rounded_weights(4))),
    ]
    rungs += [
        (
            f"{steps} steps",
            CHANGE,
            None,
            lambda steps=steps: draw(num_inference_steps=steps),  # type: ignore[misc]
        )
        for steps in (50, 15, 10, 8, 5)
    ]
    rungs += [
        (
            name.removesuffix("Scheduler"),
            CHANGE,
            None,
            lambda name=name: draw(scheduler=name),  # type: ignore[misc]
        )
        for name in (
            "UniPCMultistepScheduler",
            "HeunDiscreteScheduler",
            "EulerDiscreteScheduler",
            "DDIMScheduler",
            "DEISMultistepScheduler",
            "PNDMScheduler",
        )
    ]
    rungs += [
        (
            f"guidance {scale:g}",
            CHANGE,
            None,
            lambda scale=scale: draw(guidance_scale=scale),  # type: ignore[misc]
        )
        for scale in (7.5, 5.0, 3.0, 1.0)
    ]
    rungs.append(("another seed", CHANGE, None, lambda: draw(seed_shift=1000)))
    measured = []
    for name, sort, precision, make in rungs:
        rung = compare(name, sort, precision, plain, make())
        progress(f"{name}: SSIM {rung.ssim_mean} (lowest {rung.ssim_min})")
        measured.append(rung)
    return measured
