"""Finds which kernel torch chooses for an attention on MPS: pure functions of one call.

Source: ``aten/src/ATen/native/mps/operations/Attention.mm``.
"""

from __future__ import annotations

from typing import Final

from sdperf.mps_check.calls import OperatorCall

_LONGEST_VECTOR_QUERY: Final = 8
_VECTOR_HEADS: Final = (64, 96, 128)
_LATE_VECTOR_HEADS: Final = (*_VECTOR_HEADS, 256)
"""From 2.13 on: the library of 2.12.0 has no ``sdpa_vector`` for 256, that of 2.13.0 has."""

_PREFILL_HEADS: Final = (32, 64, 72, 80, 96, 128, 256)


def attention_scores(call: OperatorCall) -> tuple[int, ...] | None:
    """Return the shape of an attention's scores: batch, heads, queries and keys."""
    query, key = call.tensor("query"), call.tensor("key")
    if query is None or key is None:
        return None
    return (*query.shape[:-1], key.shape[-2])


def _mask_suits_kernels(call: OperatorCall) -> bool:
    mask, query = call.tensor("attn_mask"), call.tensor("query")
    return mask is None or (query is not None and mask.dtype in ("bool", query.dtype))


def takes_vector_kernel(call: OperatorCall, *, is_late: bool = False) -> bool:
    """Follow torch's own choice of the kernel for short queries. Source: Attention.mm.

    Args:
        call: The attention.
        is_late: Whether torch is 2.13 or later.
    """
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    if query is None or key is None or value is None:
        return False
    heads = query.shape[-1]
    return (
        query.shape[-2] <= min(_LONGEST_VECTOR_QUERY, key.shape[-2])
        and heads == value.shape[-1]
        and heads in (_LATE_VECTOR_HEADS if is_late else _VECTOR_HEADS)
        and _mask_suits_kernels(call)
    )


def takes_prefill_kernel(call: OperatorCall) -> bool:
    """Follow the choice, from 2.13 on, of the kernels for long queries. Source: Attention.mm."""
    query, value = call.tensor("query"), call.tensor("value")
    if query is None or value is None:
        return False
    return (
        query.shape[-2] > _LONGEST_VECTOR_QUERY
        and query.shape[-1] == value.shape[-1]
        and query.shape[-1] in _PREFILL_HEADS
        and _mask_suits_kernels(call)
    )
