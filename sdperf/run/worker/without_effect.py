"""Settings and parts that had no effect on the pictures of a round, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sdperf.pipeline.optimisations.caches.installed import find_cache
from sdperf.record.workload import Workload
from sdperf.units import format_quantity

_NO_LIMIT: Final = 10**6
"""A tokenizer without a limit says a number far above this one."""


def list_without_effect(
    pipeline: Any, workload: Workload, prompts: Sequence[str]
) -> tuple[str, ...]:
    """List what was asked for and changed nothing.

    Args:
        pipeline: The `diffusers.DiffusionPipeline`, or anything that has its components.
        workload: Settings of the pictures.
        prompts: Their prompts.
    """
    found = []
    scale = workload.guidance_scale
    if workload.negative_prompt and scale is not None and scale <= 1:
        found.append(f"the negative prompt, which takes a guidance above 1 (it is {scale:g})")
    texts = dict.fromkeys(filter(None, (*prompts, workload.negative_prompt)))
    for name, tokenizer in _list_tokenizers(pipeline):
        limit = getattr(tokenizer, "model_max_length", None)
        if not isinstance(limit, int) or limit > _NO_LIMIT:
            continue
        long = [text for text in texts if _count_tokens(tokenizer, text) > limit]
        if long:
            cut = format_quantity(len(long), "prompt")
            found.append(f"the ends of {cut} of {len(texts)}: {name} takes {limit} tokens")
    cache = find_cache(pipeline)
    if cache is not None and cache.left_out <= 0:
        steps = format_quantity(workload.num_inference_steps, "step")
        found.append(f"{cache.name}, which computed every block in {steps}")
    return tuple(found)


def _list_tokenizers(pipeline: Any) -> Iterator[tuple[str, Any]]:
    for name, part in getattr(pipeline, "components", {}).items():
        if name.startswith("tokenizer") and callable(part):
            yield name, part


def _count_tokens(tokenizer: Any, text: str) -> int:
    """Count a text's tokens, start and end included; 0 where the tokenizer cannot be asked so."""
    try:
        return len(tokenizer(text, truncation=False, verbose=False)["input_ids"])
    except Exception:  # noqa: BLE001  # a tokenizer of one's own; a remark may not break a round
        return 0


def describe_left_out(names: Sequence[str]) -> tuple[str, ...]:
    """Say which of a pipeline's own parts are not measured. Pure.

    >>> describe_left_out(["safety_checker"])
    ("the pipeline's safety checker, which is left out and not measured",)
    """
    return tuple(
        f"the pipeline's {name.replace('_', ' ')}, which is left out and not measured"
        for name in names
    )
