"""``--a precision=fp16,steps=20``: settings of a side as text, checked field by field. Pure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sdperf.device import DEVICE_CHOICES
from sdperf.engines.catalogue import ENGINES
from sdperf.errors import ConfigurationError
from sdperf.models.sampling import OWN_GUIDANCE, choose_sampling
from sdperf.pipeline.optimisations.catalogue import DEFAULT, parse_optimisations
from sdperf.record.workload import (
    DEFAULT_PROMPTS,
    EMBEDDED,
    MODES,
    PRECISIONS,
    Workload,
    read_prompts,
)
from sdperf.store.profile import read_profile

ALIASES: Final[Mapping[str, str]] = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
}
PROFILE: Final = "profile"
"""The key that stands for all settings of a profile."""

_BORDER: Final = re.compile(r",(?=[a-z_]+=)")
"""A comma that begins the next setting; others belong to the value."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a side; what is not mentioned is as everywhere else.

    Attributes:
        text: As written, for labels.
        workload: Fields of `Workload`.
        variant: Fields of `Variant`.
        subject: ``module:function``.
        device: A ``--sd-device`` choice.
    """

    text: str = ""
    workload: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    subject: str | None = None
    device: str | None = None

    def over(self, base: Settings) -> Settings:
        """Return these settings with another's where these say nothing."""
        return Settings(
            text=self.text,
            workload={**base.workload, **self.workload},
            variant={**base.variant, **self.variant},
            subject=base.subject if self.subject is None else self.subject,
            device=base.device if self.device is None else self.device,
        )

    def make_workload(self) -> Workload:
        """Return the workload; steps and guidance are the model's preset where not set.

        Raises:
            ConfigurationError: It cannot be generated.
        """
        model = self.workload.get("model", EMBEDDED)
        sampling = choose_sampling(
            model, self.workload.get("num_inference_steps"), self.workload.get("guidance_scale")
        )
        defaults: dict[str, Any] = {
            "model": model,
            "prompts": DEFAULT_PROMPTS,
            "num_inference_steps": sampling.num_inference_steps,
            "guidance_scale": sampling.guidance_scale,
        }
        own = {"guidance_scale": sampling.guidance_scale}
        return Workload(**{**defaults, **self.workload, **own})


def parse_settings(texts: Sequence[str]) -> Settings:
    """Read settings such as ``precision=fp16,mode=async``.

    Keys are the fields of `Variant` and `Workload` (``steps`` and ``guidance`` for short,
    ``size=512x512``, ``prompts=FILE``), ``subject`` and ``device``, and ``profile=FILE``, which
    stands for all settings of a profile.

    Args:
        texts: Each a comma list; later ones win, also over a profile's.

    Raises:
        ConfigurationError: A key is unknown, or a value cannot be read.
    """
    workload: dict[str, Any] = {}
    variant: dict[str, Any] = {}
    others: dict[str, str] = {}
    for text in texts:
        for key, value in _split(text):
            name = ALIASES.get(key, key)
            if name == "size":
                workload["width"], workload["height"] = _read("size", value, _parse_size)
            elif name in WORKLOAD_PARSERS:
                workload[name] = _read(key, value, WORKLOAD_PARSERS[name])
            elif name in VARIANT_PARSERS:
                variant[name] = _read(key, value, VARIANT_PARSERS[name])
            elif name in ("subject", "device"):
                others[name] = _read(key, value, _OTHER_PARSERS[name])
            else:
                raise ConfigurationError(
                    "a setting is unknown", got=key, expected=", ".join(list_keys())
                )
    return Settings(",".join(texts), workload, variant, others.get("subject"), others.get("device"))


def list_keys() -> list[str]:
    """List every key that a setting may have."""
    short = {name: key for key, name in ALIASES.items()}
    names = [*VARIANT_PARSERS, *WORKLOAD_PARSERS]
    return [*(short.get(name, name) for name in names), "size", *_OTHER_PARSERS, PROFILE]


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Split a comma list into keys and values, a profile into those that it stands for."""
    for part in _BORDER.split(text):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigurationError(
                "a setting cannot be read",
                got=part,
                expected="KEY=VALUE, such as precision=fp16,steps=20",
            )
        if key == PROFILE:
            yield from read_profile(Path(value.strip()).expanduser()).as_texts().items()
        else:
            yield key, value


def _read(key: str, value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"the setting {key} cannot be used", got=value, expected=str(error)
        ) from error


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
            raise ValueError(f"a whole number, {least} or more")
        return int(text)

    return parse


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("a number, 0 or more")
    return float(text)


def _guidance(text: str) -> float | str:
    if text == OWN_GUIDANCE:
        return text
    try:
        return _number(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {OWN_GUIDANCE}") from error


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(", ".join(choices))
        return text

    return parse


def _text(text: str) -> str:
    if not text:
        raise ValueError("something")
    return text


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "auto" else parse(text)


def _optimisations(text: str) -> tuple[str, ...]:
    names = parse_optimisations(text)
    if names == (DEFAULT,):
        raise ValueError("optimisations by name; the default is another one on each device")
    return names


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    if not found:
        raise ValueError("WIDTHxHEIGHT in pixels, such as 512x512")
    return int(found.group(1)), int(found.group(2))


VARIANT_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "precision": _one_of(PRECISIONS),
    "mode": _one_of(MODES),
    "workers": _whole(1),
    "optimisations": _optimisations,
    "engine": _one_of(tuple(ENGINES)),
    "threads": _optional(_whole(1)),
}
"""One for each field of `Variant`."""

WORKLOAD_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "model": _text,
    "prompts": lambda text: read_prompts(Path(text).expanduser(), "prompts="),
    "num_inference_steps": _whole(1),
    "guidance_scale": _guidance,
    "negative_prompt": str,
    "seed": _whole(0),
    "height": _optional(_whole(8)),
    "width": _optional(_whole(8)),
    "scheduler": _optional(_text),
}
"""One for each field of `Workload`."""

_OTHER_PARSERS: Final[Mapping[str, Callable[[str], str]]] = {
    "subject": _text,
    "device": _one_of(DEVICE_CHOICES),
}
