"""May two measurements of one test id be compared with each other?"""

from __future__ import annotations

import dataclasses
from typing import Final

from sdperf.record.measurement import Measurement
from sdperf.record.workload import DEFAULT_PICTURE_SHA256, InputPicture
from sdperf.settings import BY_FIELD
from sdperf.units import format_quantity

_OWN_AFFAIR: Final = frozenset({"model", "lora"})
"""Fields not compared: paths or hub ids, which may change; `model_hash` and `loras` tell."""


_ACCEPT: Final = "sdperf baseline accept --reason TEXT"
_PROMPT_ALONE: Final = "the prompt alone"
"""The words for a workload without an input picture."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """Why a saved case and the one of today cannot be compared.

    Attributes:
        reason: The words that a person reads.
        is_of_workload: Whether the two were asked for different work, on the same machine.
    """

    reason: str
    is_of_workload: bool = False

    def suggest(self, otherwise: str) -> str:
        """Return the next step: about the workload where that differs, else ``otherwise``."""
        if self.is_of_workload:
            return "ask for the workload of then, or accept a baseline of this one: " + _ACCEPT
        return otherwise


def explain_difference(saved: Measurement, current: Measurement) -> Difference | None:
    """Say why two measurements of one test id are not comparable; ``None`` when they are.

    A different model hash is no obstacle: retrained or converted weights are a change to judge.
    """
    if saved.kind != current.kind or saved.images_per_round != current.images_per_round:
        return Difference(
            f"{format_quantity(saved.images_per_round, 'image')} a round against "
            f"{current.images_per_round} now"
        )
    if saved.variant.identity != current.variant.identity:
        return Difference(f"variant {saved.variant.id} against {current.variant.id} now")
    for field in dataclasses.fields(saved.workload):
        before, now = (getattr(one.workload, field.name) for one in (saved, current))
        if field.name in _OWN_AFFAIR or before == now:
            continue
        if field.name == "picture":
            return _tell_workload(explain_pictures(before, now))
        return _tell_workload(f"{_name(field.name)} was {_show(before)} and is {_show(now)}")
    if [one.key for one in saved.loras] != [one.key for one in current.loras]:
        was, now = (_name_loras(one) for one in (saved, current))
        return _tell_workload(f"{was} was loaded into the model, and now {now}")
    before, now = saved.environment.fingerprint(), current.environment.fingerprint()
    if before != now:
        return Difference(f"measured on {before}, this is {now}")
    return None


def _tell_workload(what: str) -> Difference:
    return Difference(f"another workload: {what}", is_of_workload=True)


def _name(field: str) -> str:
    """Name a field of a workload as its setting; a width is not the whole of its setting."""
    setting = BY_FIELD.get(field)
    return field if setting is None or len(setting.fields) > 1 else setting.key.replace("-", " ")


def _name_loras(measured: Measurement) -> str:
    return ", ".join(one.describe() for one in measured.loras) or "no LoRA"


def explain_pictures(before: InputPicture | None, now: InputPicture | None) -> str:
    """Say in words what two workloads are drawn from; for two pictures, only what differs."""
    if before is None or now is None:
        return f"it was drawn from {_describe(before)}, and now from {_describe(now)}"
    was, is_now = list_picture_parts(before), list_picture_parts(now)
    changed = [name for name in was if was[name] != is_now[name]]
    return ", ".join(f"{name} was {was[name]} and is {is_now[name]}" for name in changed)


def list_picture_parts(picture: InputPicture | None) -> dict[str, str]:
    """Describe the input of a workload field by field; the fields exist without a picture too."""
    given = InputPicture(DEFAULT_PICTURE_SHA256) if picture is None else picture
    parts = {
        "picture": given.name_picture().removeprefix("picture "),
        "mask": given.name_mask().removeprefix("mask ") or "none",
        "strength": "none" if given.strength is None else f"{given.strength:g}",
        "task": given.task or "not known",
        "picture arguments": ", ".join(given.arguments) or "not known",
    }
    if picture is not None:
        return parts
    return dict.fromkeys(parts, "none") | {"picture": _PROMPT_ALONE}


def _describe(picture: InputPicture | None) -> str:
    if picture is None:
        return _PROMPT_ALONE
    strength = "" if picture.strength is None else f", strength {picture.strength:g}"
    task = "" if picture.task is None else f", {picture.task}"
    mask = picture.name_mask()
    return f"{picture.name_picture()}{f', {mask}' if mask else ''}{strength}{task}"


def _show(value: object) -> str:
    """Show a field in words: prompts one by one, and an empty field as left open."""
    if value is None:
        return "left open"
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
