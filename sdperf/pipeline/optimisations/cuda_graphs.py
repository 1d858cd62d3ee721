"""Recording a function's work on the device once, and replaying it.

A replay launches all kernels of the recording with one call of the host, so the device no longer
waits for Python. Shapes, dtypes and everything that is no tensor are part of the recording.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from sdperf.models.layout import DENOISERS

_bypassed = False


class RecordGraph(Protocol):
    """Records a function that takes nothing: returns its result and what computes it again."""

    def __call__(self, work: Callable[[], Any], warmups: int) -> tuple[Any, Callable[[], None]]:
        """Call ``work`` a few times, then record it."""


@dataclass(frozen=True)
class _Recording:
    inputs: list[torch.Tensor]
    output: Any
    replay: Callable[[], None]


class Graphed:
    """A function whose tensors' work is recorded at the first call of each shape.

    Args:
        function: Takes and returns nested tensors and plain values. It must read nothing back from
            the device, draw no random numbers, and find its weights where they were.
        record: How; `record_cuda_graph` on a CUDA device.
        warmups: Calls before the recording, in which kernels are chosen and compiled.
    """

    def __init__(
        self, function: Callable[..., Any], *, record: RecordGraph | None = None, warmups: int = 2
    ) -> None:
        self._function = function
        self._record = record_cuda_graph if record is None else record
        self._warmups = warmups
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Replay with new inputs; the result is a copy that later calls leave alone."""
        if _bypassed:
            return self._function(*args, **keywords)
        leaves, spec = tree_flatten((args, keywords))
        key = (str(spec), *map(_describe_leaf, leaves))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._make(leaves, spec)
        tensors = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        for place, tensor in zip(recording.inputs, tensors, strict=True):
            place.copy_(tensor)
        recording.replay()
        return tree_map(_copy, recording.output)

    def _make(self, leaves: list[Any], spec: TreeSpec) -> _Recording:
        places = [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

        def work() -> Any:
            args, keywords = tree_unflatten(places, spec)  # new: a call may fill its lists
            return self._function(*args, **keywords)

        output, replay = self._record(work, self._warmups)
        inputs = [place for place in places if isinstance(place, torch.Tensor)]
        return _Recording(inputs, output, replay)


@torch.no_grad()
def record_cuda_graph(work: Callable[[], Any], warmups: int) -> tuple[Any, Callable[[], None]]:
    """Record work on the current CUDA device.

    Source: the recipe of torch's documentation of CUDA graphs: warm up on a side stream, capture.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmups):
            work()
    torch.cuda.current_stream().wait_stream(side)
    gc.collect()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = work()
    return output, graph.replay


@contextlib.contextmanager
def recordings_bypassed() -> Iterator[None]:
    """Run everything operator by operator, for counting: recordings and compiled code hide them."""
    global _bypassed
    before, _bypassed = _bypassed, True
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        _bypassed = before


def is_bypassed() -> bool:
    """Tell whether everything runs operator by operator now, for counting."""
    return _bypassed


def graph_networks(
    pipeline: Any, record: RecordGraph | None = None, *, with_denoiser: bool = True
) -> None:
    """Replay the calls of a pipeline's networks instead of making them; in place.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        record: How; `record_cuda_graph` on a CUDA device.
        with_denoiser: Whether to include the denoiser, whose calls no other recording holds.
    """
    for module in _find_networks(pipeline, with_denoiser):
        module.forward = Graphed(module.forward, record=record)


def graph_text_encoders(pipeline: Any, record: RecordGraph | None = None) -> None:
    """Replay the calls of a pipeline's text encoders instead of making them; in place.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        record: How; `record_cuda_graph` on a CUDA device.
    """
    for name in _TEXT_ENCODERS:
        module = getattr(pipeline, name, None)
        if module is not None:
            module.forward = Graphed(module.forward, record=record)


_TEXT_ENCODERS: Final = ("text_encoder", "text_encoder_2", "text_encoder_3")


def _find_networks(pipeline: Any, with_denoiser: bool) -> list[torch.nn.Module]:
    names = (*DENOISERS, *_TEXT_ENCODERS) if with_denoiser else _TEXT_ENCODERS
    found = [getattr(pipeline, name, None) for name in names]
    # A VAE that is cast for each image leaves its weights' place: a replay would read freed memory.
    if not casts_vae(pipeline):
        found.append(getattr(getattr(pipeline, "vae", None), "decoder", None))
    return [module for module in found if module is not None]


def casts_vae(pipeline: Any) -> bool:
    """Tell whether a pipeline casts its VAE to float32 and back for each image."""
    vae = getattr(pipeline, "vae", None)
    return (
        hasattr(pipeline, "upcast_vae")
        and vae is not None
        and vae.dtype == torch.float16
        and bool(vae.config.force_upcast)
    )


def _describe_leaf(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.dtype, leaf.device, leaf.stride()
    return leaf


def _copy(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
