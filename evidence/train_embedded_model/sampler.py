"""Chooses training pictures on the device, without ever waiting for it."""

import torch
from torch import Tensor

from .dataset import KINDS

EARLY_WEIGHTS = {
    "plain": 0.45,
    "recoloured": 0.17,
    "background": 0.13,
    "both": 0.05,
    "two": 0.06,
    "pair": 0.14,
}
LATE_WEIGHTS = {
    "plain": 0.38,
    "recoloured": 0.16,
    "background": 0.11,
    "both": 0.05,
    "two": 0.08,
    "pair": 0.22,
}


class PictureSampler:
    """Draws picture rows: first the kind by weight, then a picture of that kind, evenly.

    Pairs get more weight in the second half, when single emoji are sharp.

    Args:
        sizes: Number of pictures of each of KINDS, stored kind after kind.
        device: Where rows are drawn.
        seed: Of the generator, which also serves the phase's other noise.
    """

    def __init__(self, sizes: list[int], device: torch.device, seed: int) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self._device = device
        self._sizes = torch.tensor(sizes, device=device)
        self._starts = torch.cumsum(self._sizes, 0) - self._sizes
        self._early = self._compute_thresholds(EARLY_WEIGHTS, sizes)
        self._late = self._compute_thresholds(LATE_WEIGHTS, sizes)

    def _compute_thresholds(self, weights: dict[str, float], sizes: list[int]) -> Tensor:
        usable = torch.tensor(
            [weights[kind] if size else 0.0 for kind, size in zip(KINDS, sizes, strict=True)]
        )
        return torch.cumsum(usable / usable.sum(), 0)[:-1].to(self._device)

    def draw(self, count: int, progress: float) -> Tensor:
        """(count,) int64 rows."""
        thresholds = self._early if progress < 0.5 else self._late
        uniform = torch.rand(
            (2, count), device=self._device, generator=self.generator, dtype=torch.float64
        )
        kind = torch.bucketize(uniform[0].float(), thresholds, right=True)
        offset = (uniform[1] * self._sizes[kind]).long()
        return self._starts[kind] + torch.minimum(offset, self._sizes[kind] - 1)
