"""May two measurements of one test id be compared with each other?"""

from __future__ import annotations

import dataclasses
from typing import Final

from sdperf.record.measurement import Measurement

_OWN_AFFAIR: Final = frozenset({"model", "lora"})
"""Paths or hub ids: the same may lie elsewhere on another day; `model_hash` and `loras` tell."""


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
    if [one.key for one in saved.loras] != [one.key for one in current.loras]:
        was, now = (_name_loras(one) for one in (saved, current))
        return f"another workload: {was} was loaded into the model, and now {now}"
    before, now = saved.environment.fingerprint(), current.environment.fingerprint()
    if before != now:
        return f"measured on {before}, this is {now}"
    return None


def _name_loras(measured: Measurement) -> str:
    return ", ".join(one.describe() for one in measured.loras) or "no LoRA"
