"""Subjects with UNet weights rounded to few levels: what quantising would cost the images."""

from __future__ import annotations

from typing import Any

import torch

from sdperf.models.subject import PipelineRequest


def int8_weights(request: PipelineRequest) -> Any:
    """Load the pipeline with weights of 255 levels per output channel, computed in fp32."""
    return _with_rounded_weights(request, bits=8)


def int4_weights(request: PipelineRequest) -> Any:
    """Load the pipeline with weights of 15 levels per output channel, computed in fp32."""
    return _with_rounded_weights(request, bits=4)


def _with_rounded_weights(request: PipelineRequest, bits: int) -> Any:
    pipeline = request.load()
    levels = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in pipeline.unet.parameters():
            if parameter.ndim >= 2:
                flat = parameter.flatten(1)
                scale = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / levels
                parameter.copy_((flat / scale).round().mul(scale).view_as(parameter))
    return pipeline
