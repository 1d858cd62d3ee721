"""Switching a pipeline's scheduler by its diffusers class name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from sdperf.errors import ConfigurationError
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.settings import SCHEDULER


def find_schedulers(pipeline: Any) -> dict[str, Any]:
    """Return the scheduler classes that suit a pipeline, its own first, by name."""
    current = pipeline.scheduler
    usable = [type(current), *getattr(current, "compatibles", [])]
    return {kind.__name__: kind for kind in usable if "dummy" not in kind.__module__}


def apply_scheduler(pipeline: Any, name: str | None) -> None:
    """Replace the pipeline's scheduler, keeping the model's noise schedule.

    Ancestral and SDE schedulers add noise in their steps; it comes from each image's own seed.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`; changed in place.
        name: Class name; ``None`` keeps the scheduler that the pipeline has.

    Raises:
        ConfigurationError: The scheduler does not suit the pipeline.
    """
    if name is None:
        return
    current, known = pipeline.scheduler, find_schedulers(pipeline)
    if name not in known:
        raise ConfigurationError(
            f"the scheduler cannot be used with {type(pipeline).__name__}",
            got=name,
            expected=", ".join(sorted(known)),
            hint=f"{SCHEDULER} {find_nearest(name, known) or type(current).__name__}",
        )
    with known_warnings_ignored():
        pipeline.scheduler = known[name].from_config(current.config)


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the scheduler that was probably meant; ``None`` where no name is much alike.

    >>> find_nearest("Euler", ["EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler"])
    'EulerDiscreteScheduler'
    """
    shortest_first = sorted(known, key=lambda one: (len(one), one))
    asked = name.lower()
    begun = [one for one in shortest_first if asked and one.lower().startswith(asked)]
    alike = {one.lower(): one for one in shortest_first}
    near = begun or [alike[one] for one in difflib.get_close_matches(asked, alike, n=1)]
    return near[0] if near else None
