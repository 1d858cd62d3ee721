"""Ranks out of a LoRA's configuration, by which peft makes matrices before it reads weights. Pure.

A few digits in a file could otherwise ask for more memory than any machine has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_RANK_FIRST: Final = re.compile(r"lora(?:_|\.)(?:A|down)\b")
_RANK_SECOND: Final = re.compile(r"lora(?:_|\.)(?:B|up)\b")
"""Parts of the names of matrices whose first or second size is the rank."""


def find_largest_rank(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the largest rank of a LoRA's matrices.

    A rank is at most as large as a matrix's other side: one of no or few weights could otherwise
    claim any rank without the bytes for it.

    Args:
        shapes: The shapes of its tensors by name. Of those that are no matrices of a LoRA, such as
            the factors of other adapters, every size may be a rank.

    >>> find_largest_rank({"to_q.lora_A.weight": (4, 320), "to_q.lora_B.weight": (320, 4)})
    4
    >>> find_largest_rank({"to_q.lora_A.weight": (4, 320), "to_k.lora_B.weight": (0, 10**9)})
    4
    """
    matrices = [
        min(shape[index], math.prod(shape[:index] + shape[index + 1 :]))
        for name, shape in shapes.items()
        for index, mark in enumerate((_RANK_FIRST, _RANK_SECOND))
        if mark.search(name) and len(shape) > 1
    ]
    others = (size for shape in shapes.values() if 0 not in shape for size in shape)
    return max(matrices or others, default=0)


def find_excessive_rank(configuration: Mapping[str, Any], largest: int) -> str | None:
    """Return the entry of a LoRA's configuration with a larger rank than any of its matrices.

    Args:
        configuration: Arguments of peft's `LoraConfig`, each behind the name of a pipeline's part.
        largest: The largest rank of its matrices.

    >>> find_excessive_rank({"unet.r": 4, "unet.rank_pattern": {"to_q": 10**9}}, 4)
    'unet.rank_pattern: 1000000000'
    """
    for key, rank in _list_ranks(configuration):
        if isinstance(rank, int | float) and rank > largest:
            return f"{ascii(key)[1:-1][:80]}: {ascii(rank)[:40]}"
    return None


def _list_ranks(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in configuration.items():
        field = key.rpartition(".")[2]
        if field == "r":
            yield key, value
        elif field == "rank_pattern" and isinstance(value, dict):
            yield from ((key, rank) for rank in value.values())
