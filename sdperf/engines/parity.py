"""Measure how far the results of an engine's parts are from torch's, each on equal inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from sdperf.engines.protocol import Part, PartName, PreparedPart
from sdperf.images.component import ComponentDistance, compute_component_distance

FP32_PARITY_DB = 60.0
"""Lowest PSNR that a part in fp32 may have, dB, on the range of torch's own output."""

FP16_PARITY_DB = 35.0
"""Lowest PSNR that a part in 16 bits may have, dB, compared with torch in fp32."""


@torch.no_grad()
def measure_parity(
    parts: Iterable[Part],
    prepared: Mapping[PartName, PreparedPart],
    references: Mapping[PartName, torch.nn.Module] | None = None,
) -> tuple[ComponentDistance, ...]:
    """Run each part on the engine and in torch, on the part's example inputs.

    Args:
        parts: The parts.
        prepared: The engine's functions for the parts.
        references: Torch's modules in fp32 to compare 16-bit parts with, fed with the same
            (rounded) inputs; ``None`` takes the parts' own modules.

    Returns:
        One distance for each output of each part: ``component`` is the part's name.
    """
    distances = []
    for part in parts:
        module = part.module if references is None else references[part.name]
        like = next((p.dtype for p in module.parameters()), None)
        fed = [
            one.to(like) if one.is_floating_point() and name not in part.fixed else one
            for name, one in part.inputs.items()
        ]
        expected = module(*fed)
        found = prepared[part.name].run(part.inputs)
        for name, before, after in zip(part.outputs, expected, found, strict=True):
            arrays = [one.detach().float().cpu().numpy() for one in (before, after)]
            distances.append(compute_component_distance(part.name, name, *arrays))
    return tuple(distances)
