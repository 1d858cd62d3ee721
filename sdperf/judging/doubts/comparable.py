"""May two measurements of one test id be compared with each other?"""

from __future__ import annotations

import dataclasses
from typing import Final

from sdperf.record.measurement import Measurement

_OWN_AFFAIR: Final = frozenset({"model"})
"""A path or hub id: the same model may lie elsewhere on another day; `model_hash` tells."""


def explain_difference(saved: Measurement, current: Measurement) -> str | None:
    """Say why two measurements of one test id are not comparable; ``None`` when they are.

    Another model hash is not a reason: retrained or converted weights are a change to be judged.
    """
    if saved.kind != current.kind or saved.images_per_round != current.images_per_round:
        return f"{saved.images_per_round} images a round against {current.images_per_round} now"
    if saved.variant.identity != current.variant.identity:
        return f"variant {saved.variant.id} against {current.variant.id} now"
    for field in dataclasses.fields(saved.workload):
        before, now = (getattr(one.workload, field.name) for one in (saved, current))
        if field.name not in _OWN_AFFAIR and before != now:
            return f"another workload: {field.name} was {before!r} and is {now!r}"
    before, now = saved.environment.fingerprint(), current.environment.fingerprint()
    if before != now:
        return f"measured on {before}, this is {now}"
    return None
