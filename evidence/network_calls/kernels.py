"""What the time of one call consists of on the device: kernels by kind, from torch's profiler."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

KINDS: Final = (
    ("fused norms and elementwise", r"^triton"),
    ("attention", r"flash|fmha|attention|sdpa"),
    ("changes of layout", r"nchwtonhwc|nhwctonchw"),
    ("convolution", r"conv|fprop|implicit|dgrad"),
    ("matrix product", r"gemm|nvjet|cublas|cutlass|_mm"),
    ("copies", r"memcpy|memset|copy"),
)
"""Kinds of kernels and what their names contain, the first that fits; others are elementwise.

Inductor names its own after what they follow: ``triton_..._convolution_...`` is no convolution."""

OTHER: Final = "other elementwise"


def name_kind(kernel: str) -> str:
    """Return the kind of a kernel by its name, such as ``sm90_xmma_fprop_implicit_gemm...``."""
    lowered = kernel.lower()
    return next((kind for kind, pattern in KINDS if re.search(pattern, lowered)), OTHER)


def divide_by_kind(kernels: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Sum milliseconds of kernels by kind, the longest first.

    Args:
        kernels: Name and milliseconds of each.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    for name, milliseconds in kernels:
        sums[name_kind(name)] += milliseconds
    return {
        kind: round(sums[kind], 3)
        for kind in sorted(sums, key=lambda kind: sums[kind], reverse=True)
    }


def list_kernels(work: Callable[[], Any], calls: int = 5) -> list[tuple[str, float]]:
    """Return name and milliseconds a call of every kernel that a call starts, the longest first."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    work()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
    found = (
        (str(one.key), float(one.self_device_time_total) / 1e3 / calls)
        for one in profiled.key_averages()
    )
    return sorted((one for one in found if one[1] > 0), key=lambda one: -one[1])
