"""Random weights that are the same on every device and keep activations of order one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

import torch
from accelerate import init_empty_weights

Network = TypeVar("Network", bound=torch.nn.Module)

_PERIOD: Final = 4_194_301
"""Numbers drawn, a prime; larger weights repeat them, out of step with their own rows."""


class RandomWeights:
    """Fills networks, one after another, from one seeded row of normal numbers.

    The row is drawn in float32 on the CPU, so that weights are equal on every device and, apart
    from rounding, in every precision; a weight of n inputs has deviation 1 / sqrt(n).
    """

    def __init__(self, *, seed: int, dtype: torch.dtype, device: torch.device | str) -> None:
        self._row = _draw_row(seed).to(device)
        self._dtype = dtype
        self._device = device
        self._position = 0

    def build(self, make: Callable[[], Network]) -> Network:
        """Build a network straight on the device, in the dtype, with random weights.

        Args:
            make: Constructs the network; what it puts into its weights is never computed.
        """
        with init_empty_weights(include_buffers=False):
            network = make()
        for module in network.modules():
            for name, weight in module.named_parameters(recurse=False):
                values = torch.nn.Parameter(self._values(name, weight.shape), requires_grad=False)
                module.register_parameter(name, values)
        tie_weights: Any = getattr(network, "tie_weights", None)
        if callable(tie_weights):
            tie_weights()
        return network.to(self._device).eval()

    def _values(self, name: str, shape: torch.Size) -> torch.Tensor:
        if len(shape) < 2:
            value = 0.0 if name == "bias" else 1.0
            return torch.full(shape, value, dtype=self._dtype, device=self._device)
        count, inputs = math.prod(shape), math.prod(shape[1:])
        start = self._position % _PERIOD
        self._position += count
        row = self._row[start : start + count]
        if len(row) < count:  # the row is read on from its beginning, as often as it takes
            missing = count - len(row)
            again = self._row.repeat(math.ceil(missing / _PERIOD))[:missing]
            row = torch.cat([row, again])
        return (row / math.sqrt(inputs)).to(self._dtype).view(shape)


@lru_cache(maxsize=1)
def _draw_row(seed: int) -> torch.Tensor:
    """Draw a row, or return the one that was drawn last; nobody writes into it."""
    return torch.randn(_PERIOD, generator=torch.Generator("cpu").manual_seed(seed))
