"""What a model needs of a Mac's memory, by arithmetic that is stated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GIB: Final = 2**30
MEMORY_GIB: Final = (8, 16, 24, 32, 64, 128)
_WEIGHT_BYTES: Final = {"fp16": 2, "bf16": 2, "fp32": 4}
_LARGER_SHARE_FROM_GIB: Final = 37


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a model needs at least.

    Attributes:
        all_bytes: Weights of all its networks, and the tensors of its largest operator.
        largest_bytes: Weights of its largest network, and the same tensors.
    """

    all_bytes: int
    largest_bytes: int


def memory_need(weights: Mapping[str, int], precision: str, working_bytes: int) -> MemoryNeed:
    """Add up what a model needs.

    Args:
        weights: Number of weights of each network.
        precision: Number format of all of them.
        working_bytes: What its largest single operator holds besides weights.
    """
    each = _WEIGHT_BYTES[precision]
    return MemoryNeed(
        sum(weights.values()) * each + working_bytes,
        max(weights.values()) * each + working_bytes,
    )


def usable_bytes(memory_gib: int) -> int:
    """Return what Metal recommends to use at most: two thirds, above 36 GB three quarters.

    Source: ``recommendedMaxWorkingSetSize`` of two Macs, 21845 MiB of 32 GB
    (ggml-org/llama.cpp#2011) and 49152 MiB of 64 GB (ggml-org/llama.cpp#1870); other sizes are
    carried over from these. A Mac says its own by ``torch.mps.recommended_max_memory()``.
    """
    total = memory_gib * GIB
    return total * 3 // 4 if memory_gib >= _LARGER_SHARE_FROM_GIB else total * 2 // 3
