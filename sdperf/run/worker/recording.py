"""Opening a generation up, and running its components on recorded inputs; inside the worker."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import numpy as np
import torch
import torch.nn.attention

from sdperf.errors import GenerationError
from sdperf.images.png import encode_png
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.pixels import count_nonfinite, to_uint8
from sdperf.pipeline.stages import SeparableStages, Stages
from sdperf.record.workload import ImageRequest
from sdperf.run.messages import DeliveredImage
from sdperf.run.quality.recorded import DenoiserCall, Floats, Kernels, Recording, Replay

SOILED_BLOCKS_BYTES: Final = tuple(2**power for power in range(9, 26)) * 2
"""Sizes of the blocks of `soil_memory`: two of each class from 512 bytes to 32 MiB."""


def record(stages: Stages, image: ImageRequest) -> Recording:
    """Generate an image and keep what passes between the components.

    A pipeline that does not divide gives no embeddings; latents and denoiser calls are kept where
    it has them.
    """
    noise = stages.draw_noise([image])
    latents: list[Floats] = []

    def keep(_step: int, current: torch.Tensor) -> None:
        latents.append(_to_array(current))

    with _recorded_calls(stages.pipeline) as calls:
        if isinstance(stages, SeparableStages):
            embeds = stages.encode_prompt([image.prompt])
            last = stages.denoise(embeds, noise, keep)
            pixels = stages.decode_latents(last)
            arrays = _embeds_as_arrays(embeds.arguments)
        else:
            pixels = stages.run_whole([image.prompt], noise, keep)
            arrays = {}
    return Recording(arrays, tuple(calls), tuple(latents), pixels[0].astype(np.float32))


@torch.no_grad()
def replay(stages: Stages, image: ImageRequest, recording: Recording) -> Replay:
    """Run the text encoders, the denoiser and the VAE, each on recorded inputs.

    Raises:
        GenerationError: The pipeline cannot be run by components.
    """
    if not isinstance(stages, SeparableStages) or not recording.latents:
        raise GenerationError(
            f"{type(stages.pipeline).__name__} cannot be run by components",
            expected="a Stable Diffusion, SDXL, SD3 or Flux pipeline with its own call",
        )
    denoiser = _find_denoiser(stages.pipeline)
    dtype, device = denoiser.dtype, stages.pipeline._execution_device
    embeds = stages.encode_prompt([image.prompt])
    outputs = []
    for call in recording.calls:
        arguments = _to_tensors(call.arguments, dtype, device)
        named = _to_tensors(dict(call.named), dtype, device)
        with known_warnings_ignored():
            outputs.append(_to_array(_first(denoiser(*arguments, **named))))
    latents = torch.from_numpy(recording.latents[-1]).to(device=device, dtype=dtype)
    pixels = stages.decode_latents(latents)
    return Replay(_embeds_as_arrays(embeds.arguments), tuple(outputs), pixels[0].astype(np.float32))


def generate_batch(stages: Stages, images: Sequence[ImageRequest]) -> tuple[DeliveredImage, ...]:
    """Generate several images in one call of the pipeline."""
    pixels = stages.run_whole([image.prompt for image in images], stages.draw_noise(images))
    return tuple(
        DeliveredImage(encode_png(rounded), 0.0, nonfinite=count_nonfinite(each) > 0)
        for each, rounded in zip(pixels, to_uint8(pixels), strict=True)
    )


def soil_memory(device: torch.device) -> int:
    """Fill blocks of every size class with bits that are NaN in each float format, and free them.

    Returns:
        Bytes that were soiled; fewer than `SOILED_BLOCKS_BYTES` asks for where memory ran out.
    """
    blocks: list[torch.Tensor] = []
    with suppress(RuntimeError):
        for size_bytes in SOILED_BLOCKS_BYTES:
            block = torch.full((size_bytes,), -1, dtype=torch.int8, device=device)
            blocks.append(block)
    return sum(block.numel() for block in blocks)


@contextmanager
def use_kernels(kernels: Kernels) -> Iterator[None]:
    """Restrict torch's choice of implementations, in this process."""
    with ExitStack() as stack:
        if kernels == "without oneDNN":
            # Setting the flags touches one of Intel GPUs too, which warns where there is none.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", UserWarning)
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        elif kernels == "plain attention":
            attention = torch.nn.attention
            stack.enter_context(attention.sdpa_kernel(attention.SDPBackend.MATH))
        yield


@contextmanager
def _recorded_calls(pipeline: Any) -> Iterator[list[DenoiserCall]]:
    """Keep the denoiser's first, middle and last call of a generation."""
    calls: list[DenoiserCall] = []
    denoiser = _find_denoiser(pipeline)
    if denoiser is None:
        yield calls
        return
    made = 0

    def keep(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        nonlocal made
        steps = len(pipeline.scheduler.timesteps)
        if made in (0, steps // 2, steps - 1):
            calls.append(
                DenoiserCall(
                    step=made,
                    steps=steps,
                    arguments=_to_arrays(arguments),
                    named=_to_arrays(named),
                    output=_to_array(_first(output)),
                )
            )
        made += 1

    handle = denoiser.register_forward_hook(keep, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _find_denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)


def _first(output: Any) -> torch.Tensor:
    tensor: torch.Tensor = output[0]
    return tensor


def _embeds_as_arrays(embeds: Any) -> dict[str, Floats]:
    return {name: _to_array(each) for name, each in embeds.items() if each is not None}


def _to_array(tensor: torch.Tensor) -> Floats:
    """Copy to the host as float32; exact for the 16-bit formats."""
    copied: Floats = tensor.detach().to(device="cpu", dtype=torch.float32).numpy().copy()
    return copied


def _to_arrays(value: Any) -> Any:
    """Turn tensors into arrays, keeping the structure around them.

    Raises:
        GenerationError: An argument is neither a tensor nor a plain value.
    """
    if isinstance(value, torch.Tensor):
        host = value.detach().cpu()
        return (host.float() if host.is_floating_point() else host).numpy().copy()
    if isinstance(value, tuple | list):
        return tuple(_to_arrays(item) for item in value)
    if isinstance(value, dict):
        return {name: _to_arrays(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise GenerationError(
        "a call of the denoiser cannot be recorded",
        got=f"an argument of type {type(value).__name__}",
        expected="tensors and plain values",
    )


def _to_tensors(value: Any, dtype: torch.dtype, device: Any) -> Any:
    """Turn arrays back into tensors.

    Floats of two and more dimensions take the model's dtype, as pipelines hand them over; scalars
    and vectors (timesteps, guidance) stay float32, because 16 bits would round the step itself.
    """
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(value).to(device)
        follows_model = tensor.is_floating_point() and tensor.ndim >= 2
        return tensor.to(dtype) if follows_model else tensor
    if isinstance(value, tuple):
        return tuple(_to_tensors(item, dtype, device) for item in value)
    if isinstance(value, dict):
        return {name: _to_tensors(item, dtype, device) for name, item in value.items()}
    return value
