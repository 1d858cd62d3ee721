"""Drawing a picture in a round of its own, and keeping imprints of what its components gave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sdperf.pipeline.borders import find_denoiser
from sdperf.pipeline.stages import Stages
from sdperf.record.imprint import HASH_DIGITS, SUMS, OutputImprint, PictureImprint, pack_sketch
from sdperf.record.workload import ImageRequest
from sdperf.run.worker.recording import flatten_encoded, recorded_encoding, to_array

_LITTLE_ENDIAN: Final = np.dtype("<f4")
_REMEMBERED: Final = 8
"""Sizes of outputs whose places are remembered; a picture has four or five."""


def take_imprint(stages: Stages, image: ImageRequest) -> PictureImprint:
    """Draw a picture by the plain call, as timed rounds do, and imprint what passes by.

    Each output is copied to the host, reduced and let go at once.

    Args:
        stages: The bound pipeline; nothing is left on it.
        image: The picture.
    """
    latents: list[OutputImprint] = []

    def keep(_step: int, current: Any) -> None:
        latents.append(make_imprint(to_array(current)))

    with recorded_encoding(stages.pipeline) as encoded, _imprinted_calls(stages.pipeline) as calls:
        pixels = stages.run_whole([image.prompt], stages.draw_noise([image]), keep)
    text: Mapping[str, NDArray[Any]] = flatten_encoded(encoded)
    return PictureImprint(
        prompt=image.prompt,
        seed=image.seed,
        text={name: make_imprint(each) for name, each in text.items()},
        denoiser=tuple(calls),
        latents=tuple(latents),
        pixels=make_imprint(pixels),
    )


def make_imprint(values: NDArray[Any]) -> OutputImprint:
    """Reduce an output to its imprint.

    Args:
        values: Float array of any shape; its values are taken as float32.

    Source: of the sketch, Charikar, Chen and Farach-Colton (2002), Finding frequent items in data
        streams.
    """
    flat = np.ascontiguousarray(values, dtype=_LITTLE_ENDIAN).ravel()
    digest = hashlib.sha256(flat.tobytes()).hexdigest()[:HASH_DIGITS]
    sketch = None
    if np.isfinite(flat).all():
        place, sign = _draw_places(flat.size)
        sums = np.bincount(place, weights=flat * sign, minlength=SUMS)
        if np.abs(sums).max(initial=0.0) < np.finfo(np.float32).max:
            sketch = pack_sketch(sums.tolist())
    return OutputImprint(digest, tuple(int(size) for size in values.shape), sketch)


@lru_cache(_REMEMBERED)
def _draw_places(size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Draw which sum each value is added to, and its sign; the same in every version of numpy."""
    raw = np.random.PCG64(size).random_raw(size)
    place = (raw % np.uint64(SUMS)).astype(np.intp)
    return place, np.where(raw >> np.uint64(63), np.float32(1), np.float32(-1))


@contextmanager
def _imprinted_calls(pipeline: Any) -> Iterator[list[OutputImprint]]:
    """Imprint what each call of the denoiser gives."""
    calls: list[OutputImprint] = []
    denoiser = find_denoiser(pipeline)
    if denoiser is None:
        yield calls
        return

    def keep(_module: Any, _arguments: Any, output: Any) -> None:
        first = output[0]
        if isinstance(first, torch.Tensor | list):
            calls.append(make_imprint(to_array(first)))

    handle = denoiser.register_forward_hook(keep)
    try:
        yield calls
    finally:
        handle.remove()
