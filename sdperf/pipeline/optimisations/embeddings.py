"""Keeps embeddings of prompts, for pipelines whose stages are not separate here."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.utils._pytree import tree_map

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.cuda_graphs import is_bypassed

KEPT_CALLS: Final = 64
_METHOD: Final = "encode_prompt"
_PLAIN: Final = (str, int, float, bool, type(None), torch.dtype, torch.device)


class KeptEmbeddings:
    """Replaces a pipeline's `encode_prompt`: equal arguments are encoded once.

    Args:
        pipeline: The `diffusers.DiffusionPipeline`.
        encode: Its own method.

    Attributes:
        hits: How many calls were answered from the kept embeddings.
    """

    def __init__(self, pipeline: Any, encode: Callable[..., Any]) -> None:
        self.__wrapped__ = encode
        self._pipeline = pipeline
        self._signature = inspect.signature(encode)
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self.hits = 0

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Encode, or return a copy of earlier embeddings."""
        bound = self._signature.bind(*args, **keywords)
        guidance = getattr(self._pipeline, "_guidance_scale", None)  # some read it meanwhile
        key = _freeze([*sorted(bound.arguments.items()), guidance])
        if key is None or is_bypassed():
            return self.__wrapped__(*args, **keywords)
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
        else:
            self._kept[key] = tree_map(_copy, self.__wrapped__(*args, **keywords))
            if len(self._kept) > KEPT_CALLS:
                self._kept.popitem(last=False)
        return tree_map(_copy, self._kept[key])


def keep_embeddings(pipeline: Any) -> None:
    """Keep the embeddings of repeated prompts, in place; earlier ones are dropped.

    Raises:
        ConfigurationError: The pipeline has no separate method that encodes prompts.
    """
    held = vars(pipeline).get(_METHOD)
    plain = held.__wrapped__ if isinstance(held, KeptEmbeddings) else None
    encode = plain or getattr(pipeline, _METHOD, None)
    if not callable(encode):
        raise ConfigurationError(
            f"{type(pipeline).__name__} encodes prompts inside of its call",
            expected="a pipeline with a method encode_prompt",
            hint="leave embed_cache out",
        )
    object.__setattr__(pipeline, _METHOD, KeptEmbeddings(pipeline, encode))


def _freeze(value: Any) -> Any:
    """Make a key of arguments; ``None`` where one is not a plain value, such as a tensor."""
    if isinstance(value, _PLAIN):
        return type(value).__name__, value
    if isinstance(value, list | tuple):
        parts = [_freeze(part) for part in value]
        return None if any(part is None for part in parts) else (type(value).__name__, *parts)
    return None


def _copy(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf
