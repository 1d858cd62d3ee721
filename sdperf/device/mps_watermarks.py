"""Read the two variables that limit torch's memory on an Apple GPU. This module loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdperf.errors import ConfigurationError

HIGH_VARIABLE: Final = "PYTORCH_MPS_HIGH_WATERMARK_RATIO"
LOW_VARIABLE: Final = "PYTORCH_MPS_LOW_WATERMARK_RATIO"

DEFAULT_HIGH: Final = 1.7
DEFAULT_LOW: Final = 1.4
LARGEST_HIGH: Final = 2.0


@dataclass(frozen=True)
class Watermarks:
    """Limits as multiples of the memory that Metal recommends; 0 means no limit.

    Attributes:
        high: Torch refuses allocations beyond this. The default can exceed the machine's memory.
        low: Torch frees cached blocks beyond this.
        chosen: Names of the variables that are set, in order.
    """

    high: float = DEFAULT_HIGH
    low: float = DEFAULT_LOW
    chosen: tuple[str, ...] = ()


def parse_watermarks(variables: Mapping[str, str]) -> Watermarks:
    """Read both variables, and refuse values that torch would misread.

    Torch reads a ratio that is not a number as 0, which means no limit, and stops with
    ``invalid low watermark ratio 1.4`` where only the high one was lowered.

    Raises:
        ConfigurationError: A ratio is not a number, is out of range, or the low one lies above the
            high one.

    Source: ``MPSHeapAllocatorImpl::setHighWatermarkRatio`` and ``setLowWatermarkRatio`` in
    torch's ``aten/src/ATen/mps/MPSAllocator.mm``; unified memory's defaults.
    """
    high = _parse_ratio(variables, HIGH_VARIABLE, DEFAULT_HIGH)
    if high > LARGEST_HIGH:
        raise ConfigurationError(
            f"{HIGH_VARIABLE} is too large",
            got=variables[HIGH_VARIABLE],
            expected=f"0 (no limit) to {LARGEST_HIGH:g}",
            hint=f"unset {HIGH_VARIABLE}",
        )
    low = _parse_ratio(variables, LOW_VARIABLE, DEFAULT_LOW)
    highest_low = high or LARGEST_HIGH
    if low > highest_low:
        raise ConfigurationError(
            "torch refuses a low watermark above the high one",
            got=f"{LOW_VARIABLE} {low:g}, {HIGH_VARIABLE} {high:g}",
            expected=f"a low watermark of at most {highest_low:g}",
            hint=f"set both: {LOW_VARIABLE}={0.8 * highest_low:.2g}",
        )
    chosen = tuple(name for name in (HIGH_VARIABLE, LOW_VARIABLE) if variables.get(name))
    return Watermarks(high, low, chosen)


def _parse_ratio(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(name, "")
    if not text:
        return default
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not math.isfinite(ratio) or ratio < 0:
        raise ConfigurationError(
            f"{name} is no ratio that torch can use",
            got=text,
            expected="a number from 0 (no limit)",
            hint=f"unset {name}",
        )
    return ratio
