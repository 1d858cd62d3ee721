"""The pipelines that the evidence compares: the plain one, and one whose UNet works more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sdperf.models.subject import PipelineRequest

EXTRA_CALLS = 1
EVERY_CALLS = 11
"""One more call in eleven: 9.1 % more work of the UNet in a generation of eleven steps, 7.5 to 8 %
of everything."""

EXTRA_PERCENT = 100 * EXTRA_CALLS / EVERY_CALLS


def unchanged(request: PipelineRequest) -> Any:
    """Make the plain pipeline."""
    return request.load()


def slower(request: PipelineRequest) -> Any:
    """Make the plain pipeline with extra calls of its UNet; the images stay the same."""
    pipeline = request.load()
    pipeline.unet.forward = repeat_calls(pipeline.unet.forward, EXTRA_CALLS, EVERY_CALLS)
    return pipeline


def repeat_calls(forward: Callable[..., Any], extra: int, every: int) -> Callable[..., Any]:
    """Return a function that makes ``extra`` further calls in every ``every``, evenly spread."""
    owed = 0

    def forward_and_more(*arguments: Any, **named: Any) -> Any:
        nonlocal owed
        result = forward(*arguments, **named)
        owed += extra
        if owed >= every:
            owed -= every
            forward(*arguments, **named)
        return result

    return forward_and_more
