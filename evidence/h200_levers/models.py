"""The models, how a picture of each is asked for, and which sets are worth measuring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from evidence import random_pipelines
from evidence.mapped_pipelines.families import FAMILIES
from evidence.mapped_pipelines.recent import RECENT
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.models.subject import PipelineRequest
from sdperf.record.workload import DEFAULT_PROMPTS, EMBEDDED, Precision, Workload

PROMPTS: Final = tuple(
    f"a photograph of a red apple on a wooden table, number {number:03}" for number in range(200)
)
"""As many as rounds could need, of one length: a new length would be compiled and recorded anew."""

_TEXT: Final = "text_graphs"
_DELIVERY: Final = "stored_png"
_VAE: Final = "channels_last_vae+compile_vae"


@dataclass(frozen=True)
class MeasuredModel:
    """One model.

    Attributes:
        build: Function of `evidence.random_pipelines` that makes it.
        tiny: Makes one of its class with a few thousand weights.
        precision: Number format.
        steps: Denoising steps.
        guidance: As the pipeline takes it.
        size: Side of the picture, pixels.
        sets: Optimisations joined by ``+``, the most telling first.
        note: What of it is not as published.
        scheduler: By its class, where that is not the model's own.
        prompts: What is asked for, each once.
        pictures: How many of a side are compared with the plain ones.
    """

    build: Callable[[Any], Any]
    tiny: Callable[[], Any]
    steps: int
    guidance: float
    sets: tuple[str, ...]
    precision: Precision = "bf16"
    size: int = 1024
    note: str = ""
    scheduler: str | None = None
    prompts: tuple[str, ...] = PROMPTS
    pictures: int = 1

    def workload(self, name: str) -> Workload:
        """Return what is generated."""
        return Workload(
            name,
            self.prompts,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            height=self.size,
            width=self.size,
            scheduler=self.scheduler,
        )

    def shrunk(self) -> MeasuredModel:
        """Return the same for a try on a CPU: two steps of 32 pixels in float32."""
        return replace(self, steps=2, size=32, precision="fp32")


def _transformer_sets(*more: str) -> tuple[str, ...]:
    network = "+".join((*more, "compile_blocks"))
    rest = f"{_VAE}+{_TEXT}+{_DELIVERY}"
    best = f"{network}+sdpa_cudnn+{rest}"
    return (
        best,
        f"{network}+sdpa_cudnn+{_VAE}+cuda_graphs+{_DELIVERY}",
        f"{_TEXT}+{_DELIVERY}",
        f"{best}+float8_blocks",
        f"{network}+{rest}",
        f"{best}+embed_cache",
    )


_UNET: Final = f"channels_last+{_VAE}+cuda_graphs+loop_graph+{_DELIVERY}"


def _load_embedded(request: PipelineRequest) -> Any:
    return load_pipeline(
        resolve_model(EMBEDDED), torch_dtype=request.torch_dtype, device=request.device
    )


def _load_embedded_on_cpu() -> Any:
    return load_pipeline(resolve_model(EMBEDDED), torch_dtype=torch.float32, device="cpu")


MODELS: Final[dict[str, MeasuredModel]] = {
    "z_image_turbo": MeasuredModel(
        random_pipelines.z_image_turbo,
        RECENT["z-image"],
        steps=9,
        guidance=0.0,
        sets=_transformer_sets("fused_projections", "real_rotary"),
    ),
    "flux2_klein_4b": MeasuredModel(
        random_pipelines.flux2_klein_4b,
        RECENT["flux2-klein"],
        steps=4,
        guidance=1.0,
        sets=_transformer_sets("fused_projections"),
    ),
    "qwen_image": MeasuredModel(
        random_pipelines.qwen_image,
        RECENT["qwen-image"],
        steps=10,
        guidance=4.0,
        note="10 of the usual 50 steps",
        sets=(
            *_transformer_sets("fused_projections", "real_rotary")[:4],
            f"fused_projections+real_rotary+compile_blocks+sdpa_cudnn+{_DELIVERY}+taylorseer_cache",
        ),
    ),
    "sd35_large": MeasuredModel(
        random_pipelines.sd35_large,
        FAMILIES["sd3"],
        steps=10,
        guidance=4.5,
        note="10 of the usual 28 steps",
        sets=_transformer_sets("fused_projections"),
    ),
    "sdxl": MeasuredModel(
        random_pipelines.sdxl,
        FAMILIES["sdxl"],
        steps=30,
        guidance=5.0,
        sets=(
            f"{_UNET}+compile+sdpa_cudnn",
            f"{_UNET}+compile",
            f"{_UNET}+compile_blocks+sdpa_cudnn",
            f"{_UNET}+compile+sdpa_cudnn+float8_blocks",
            f"{_UNET}+compile+step_cache3",
            f"{_UNET}+compile+tuned_kernels",
        ),
    ),
    "sd15": MeasuredModel(
        random_pipelines.sd15,
        FAMILIES["sd"],
        steps=30,
        guidance=7.5,
        size=512,
        precision="fp16",
        scheduler="DPMSolverMultistepScheduler",
        sets=(
            f"{_UNET}+compile+fused_projections",
            f"{_UNET}+compile+fused_projections@15",
            f"{_UNET}+compile+fused_projections+sdpa_cudnn+cudnn_benchmark",
            f"{_UNET}+compile+fused_projections+batch8",
            f"{_UNET}+compile+fused_projections+step_cache3",
        ),
    ),
    "embedded": MeasuredModel(
        _load_embedded,
        _load_embedded_on_cpu,
        steps=30,
        guidance=3.0,
        size=128,
        note="the model that ships with sdperf, whose pictures have structure",
        prompts=DEFAULT_PROMPTS,
        pictures=len(DEFAULT_PROMPTS),
        sets=(
            f"{_UNET}+compile",
            f"{_UNET}+compile@15",
            f"{_UNET}+compile@12",
            f"{_UNET}+compile+step_cache2",
            f"{_UNET}+compile+step_cache3",
            f"{_UNET}+compile+step_cache2@15",
            f"{_UNET}+compile+float8_blocks",
        ),
    ),
}
