"""Opening a generation up, and running its components on recorded inputs; inside the worker."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import numpy as np
import torch
import torch.nn.attention

from sdperf.errors import UnsupportedError
from sdperf.images.png import encode_png
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.pipeline.borders import find_borders, find_decoder, find_denoiser, stand_in
from sdperf.pipeline.own_noise import run_to_denoiser
from sdperf.pipeline.pixels import count_nonfinite, to_uint8
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Stages
from sdperf.record.workload import ImageRequest
from sdperf.run.messages import DeliveredImage
from sdperf.run.quality.recorded import (
    DenoiserCall,
    EncodedPicture,
    Floats,
    Kernels,
    Recording,
    Replay,
)

_NEAR: Final = 0.01
"""Error of an output as a share of its largest value, 40 dB, below which nothing more is asked."""

_VIDEO_NDIM: Final = 5
"""Dimensions of what a video's decoder returns: batch, channels, frames, height, width."""

SOILED_BLOCKS_BYTES: Final = tuple(2**power for power in range(9, 26)) * 2
"""Sizes of the blocks of `soil_memory`: two of each class from 512 bytes to 32 MiB."""


def record(stages: Stages, image: ImageRequest) -> Recording:
    """Generate an image and keep what passes between the components.

    A pipeline that does not divide is looked into while it is called whole: what it has of
    embeddings, denoiser calls, latents and decoding is kept.
    """
    noise = stages.draw_noise([image])
    latents: list[Floats] = []

    def keep(_step: int, current: Any) -> None:
        latents.append(to_array(current))

    decoded = None
    pictures: list[EncodedPicture] = []
    with _recorded_calls(stages) as calls:
        if isinstance(stages, SeparableStages):
            embeds = stages.encode_prompt([image.prompt])
            last = stages.denoise(embeds, noise, keep)
            pixels = stages.decode_latents(last)
            arrays = _embeds_as_arrays(embeds.arguments)
        else:
            with (
                recorded_encoding(stages.pipeline) as encoded,
                _recorded_decoding(stages.pipeline) as given,
                _recorded_pictures(stages) as pictures,
            ):
                pixels = stages.run_whole([image.prompt], noise, keep)
            arrays = flatten_encoded(encoded)
            if len(given) == 1 and _decodes_to(stages.pipeline, given[0], pixels):
                decoded = to_array(given[0])
    first = pixels[0].astype(np.float32)
    return Recording(arrays, tuple(calls), tuple(latents), first, decoded, tuple(pictures))


@torch.no_grad()
def replay(stages: Stages, image: ImageRequest, recording: Recording) -> Replay:
    """Run the text encoders, the denoiser and the VAE, each on recorded inputs.

    Raises:
        UnsupportedError: The pipeline cannot be run by components.
    """
    denoiser: Any = find_denoiser(stages.pipeline)
    if denoiser is None or not recording.calls:
        raise UnsupportedError(
            f"{type(stages.pipeline).__name__} cannot be run by components",
            got=None if denoiser is None else "no call of its denoiser that could be recorded",
            expected="a unet or a transformer that is given tensors and plain values",
        )
    dtype, device = denoiser.dtype, stages.pipeline._execution_device
    pixels: Any = None
    pictures: list[EncodedPicture] = []
    if isinstance(stages, SeparableStages):
        arrays = _embeds_as_arrays(stages.encode_prompt([image.prompt]).arguments)
    else:
        with (
            recorded_encoding(stages.pipeline) as encoded,
            _recorded_pictures(stages, recording.encoded) as pictures,
        ):
            noise = stages.draw_noise([image])
            run_to_denoiser(stages.pipeline, lambda: stages.run_whole([image.prompt], noise))
        arrays = flatten_encoded(encoded)
    outputs, nudged = [], []
    for call in recording.calls:
        arguments = _to_tensors(call.arguments, dtype, device)
        named = _to_tensors(dict(call.named), dtype, device)
        with known_warnings_ignored():
            outputs.append(to_array(_first(denoiser(*arguments, **named))))
            is_near = _are_near(call.output, outputs[-1])
            other = None if is_near else _nudge_time_step(named, dtype)
            nudged.append(
                None if other is None else to_array(_first(denoiser(*arguments, **other)))
            )
    if isinstance(stages, SeparableStages) and recording.latents:
        latents = torch.from_numpy(recording.latents[-1]).to(device=device, dtype=dtype)
        pixels = stages.decode_latents(latents)[0]
    elif recording.decoded is not None and (vae := find_decoder(stages.pipeline)) is not None:
        given = torch.from_numpy(recording.decoded).to(device=device, dtype=vae.dtype)
        pixels = _decode(stages.pipeline, vae, given)[0]
    shown = None if pixels is None else pixels.astype(np.float32)
    encodings = tuple(one.latents for one in pictures)
    return Replay(arrays, tuple(outputs), shown, tuple(nudged), encodings)


def _are_near(before: Floats, after: Floats) -> bool:
    """Tell whether two outputs are so near that no floor of 16 bits is in question."""
    if before.shape != after.shape or not np.isfinite(after).all():
        return True  # what is wrong there is no matter of rounding
    rmse = float(np.sqrt(np.mean((before - after) ** 2, dtype=np.float64)))
    return rmse <= _NEAR * float(np.abs(before).max())


def _nudge_time_step(named: dict[str, Any], dtype: torch.dtype) -> dict[str, Any] | None:
    """Move the time step of a call by one rounding of 16 bits; ``None`` where it has none.

    Transformers round it themselves: bf16 holds 877 of 1000 as 876 or 880.
    """
    step = named.get("timestep")
    if dtype not in (torch.float16, torch.bfloat16):
        return None
    if not (isinstance(step, torch.Tensor) and step.is_floating_point()):
        return None
    rounding = torch.finfo(dtype).eps
    return {**named, "timestep": step * (1 - rounding)}


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
def _recorded_calls(stages: Stages) -> Iterator[list[DenoiserCall]]:
    """Keep the denoiser's first, middle and last call, where their arguments are plain."""
    calls: list[DenoiserCall] = []
    pipeline = stages.pipeline
    denoiser = find_denoiser(pipeline)
    if denoiser is None:
        yield calls
        return
    made = 0

    def keep(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        nonlocal made
        steps = len(pipeline.scheduler.timesteps)
        if stages.bound is not None:  # whose strength leaves the first steps out
            steps = getattr(pipeline, "_num_timesteps", steps)
        if made in (0, steps // 2, steps - 1):
            with suppress(UnsupportedError):
                calls.append(
                    DenoiserCall(
                        step=made,
                        steps=steps,
                        arguments=_to_arrays(arguments),
                        named=_to_arrays(named),
                        output=to_array(_first(output)),
                    )
                )
        made += 1

    handle = denoiser.register_forward_hook(keep, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def recorded_encoding(pipeline: Any) -> Iterator[list[Any]]:
    """Keep what `encode_prompt` returns, call by call."""
    returned: list[Any] = []
    with ExitStack() as stack:
        if hasattr(pipeline, "encode_prompt"):

            def keep(*args: Any, **keywords: Any) -> Any:
                result = plain(*args, **keywords)
                returned.append(result)
                return result

            plain = stand_in(pipeline, "encode_prompt", keep, stack)
        yield returned


@contextmanager
def _recorded_decoding(pipeline: Any) -> Iterator[list[torch.Tensor]]:
    """Keep what the VAE is given to decode, call by call."""
    given: list[torch.Tensor] = []
    with ExitStack() as stack:
        borders = find_borders(pipeline)
        if borders is not None:

            def keep(latents: torch.Tensor, *args: Any, **keywords: Any) -> Any:
                given.append(latents)
                return plain(latents, *args, **keywords)

            plain = stand_in(borders.vae, "decode", keep, stack)
        yield given


@contextmanager
def _recorded_pictures(
    stages: Stages, known: Sequence[EncodedPicture] = ()
) -> Iterator[list[EncodedPicture]]:
    """Keep what the encoder makes of the input picture, call by call.

    Args:
        stages: The bound pipeline.
        known: What it is given in the place of the pipeline's own input, in the number format of
            that one; empty leaves it alone.
    """
    kept: list[EncodedPicture] = []
    with ExitStack() as stack:
        encoder = find_decoder(stages.pipeline)
        if stages.bound is not None and hasattr(encoder, "encode"):

            def keep(given: torch.Tensor, *args: Any, **keywords: Any) -> Any:
                if len(kept) < len(known):
                    given = torch.from_numpy(known[len(kept)].given).to(given)
                result = plain(given, *args, **keywords)
                latents = _find_mean(result)
                if latents is not None:
                    kept.append(EncodedPicture(to_array(given), to_array(latents)))
                return result

            plain = stand_in(encoder, "encode", keep, stack)
        yield kept


def _find_mean(encoded: Any) -> torch.Tensor | None:
    """Return the latents of an encoding without the noise that is drawn around them."""
    first = encoded[0] if isinstance(encoded, tuple) else encoded
    spread = getattr(first, "latent_dist", first)
    mean = getattr(spread, "mean", None)
    mean = mean if isinstance(mean, torch.Tensor) else getattr(first, "latents", None)
    return mean if isinstance(mean, torch.Tensor) else None


def _decodes_to(pipeline: Any, given: torch.Tensor, pixels: Any) -> bool:
    """Tell whether decoding by itself gives the very pixels that the call gave."""
    try:
        return np.array_equal(_decode(pipeline, find_decoder(pipeline), given), pixels)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # it decodes in a way of its own
        return False


@torch.no_grad()
def _decode(pipeline: Any, vae: Any, given: torch.Tensor) -> Any:
    """Decode and postprocess as pipelines do; of a video's frames the first."""
    image = vae.decode(given, return_dict=False)[0]
    if image.ndim == _VIDEO_NDIM:
        image = image[:, :, 0]
    return pipeline.image_processor.postprocess(image, output_type="np")


def flatten_encoded(encoded: Any, name: str = "") -> dict[str, Floats]:
    """Name every tensor of floats in nested results by its place, such as ``0.1``."""
    if isinstance(encoded, torch.Tensor):
        return {name: to_array(encoded)} if encoded.is_floating_point() else {}
    if not isinstance(encoded, list | tuple):
        return {}
    found: dict[str, Floats] = {}
    for index, item in enumerate(encoded):
        found |= flatten_encoded(item, f"{name}.{index}" if name else str(index))
    return found


def _first(output: Any) -> Any:
    return output[0]


def _embeds_as_arrays(embeds: Any) -> dict[str, Floats]:
    return {name: to_array(each) for name, each in embeds.items() if each is not None}


def to_array(tensor: Any) -> Floats:
    """Copy to the host as float32, exact for the 16-bit formats; a list of equal shapes stacked."""
    if isinstance(tensor, list | tuple):
        return np.stack([to_array(each) for each in tensor])
    copied: Floats = tensor.detach().to(device="cpu", dtype=torch.float32).numpy().copy()
    return copied


def _to_arrays(value: Any) -> Any:
    """Turn tensors into arrays, keeping the structure around them.

    Raises:
        UnsupportedError: An argument is neither a tensor nor a plain value.
    """
    if isinstance(value, torch.Tensor):
        host = value.detach().cpu()
        return (host.float() if host.is_floating_point() else host).numpy().copy()
    if isinstance(value, list):
        return [_to_arrays(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_to_arrays(item) for item in value)
    if isinstance(value, dict):
        return {name: _to_arrays(item) for name, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UnsupportedError(
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
    if isinstance(value, list):
        return [_to_tensors(item, dtype, device) for item in value]
    if isinstance(value, tuple):
        return tuple(_to_tensors(item, dtype, device) for item in value)
    if isinstance(value, dict):
        return {name: _to_tensors(item, dtype, device) for name, item in value.items()}
    return value
