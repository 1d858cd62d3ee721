"""``--a precision=fp16,steps=20``: settings of a side as text, checked field by field. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sdperf.engines.catalogue import parse_engine
from sdperf.errors import ConfigurationError
from sdperf.models.sampling import choose_sampling, find_left_open
from sdperf.models.tasks.choosing import AskedPicture, ChosenPicture, choose_picture
from sdperf.pipeline.optimisations.catalogue import parse_named_optimisations
from sdperf.record.workload import (
    DEFAULT_PROMPTS,
    EMBEDDED,
    InputPicture,
    Variant,
    Workload,
    read_prompts,
)
from sdperf.settings import (
    DEVICE,
    ENGINE,
    GUIDANCE,
    INPUT_IMAGE,
    LORA,
    MASK,
    MODE,
    MODEL,
    NEGATIVE_PROMPT,
    OPTIMISATIONS,
    PRECISION,
    PROFILE,
    PROMPTS,
    SCHEDULER,
    SEED,
    SIZE,
    STEPS,
    STRENGTH,
    SUBJECT,
    TASK,
    THREADS,
    WORKERS,
)
from sdperf.settings.kinds import AUTO, EDGE, Setting
from sdperf.store.profile import read_profile

OF_A_SIDE: Final[tuple[Setting[Any], ...]] = (
    PRECISION,
    MODE,
    WORKERS,
    OPTIMISATIONS,
    ENGINE,
    THREADS,
    MODEL,
    LORA,
    PROMPTS,
    STEPS,
    GUIDANCE,
    NEGATIVE_PROMPT,
    SEED,
    SCHEDULER,
    SIZE,
    TASK,
    INPUT_IMAGE,
    MASK,
    STRENGTH,
    SUBJECT,
    DEVICE,
)
"""The settings that may differ from side to side."""

EDGES: Final = ("height", "width")
"""Keys of the two numbers of a size, in pixels."""

_BORDER: Final = re.compile(r",(?=[a-z_]+=)")
"""Matches a comma that begins the next setting; other commas belong to the value."""


@dataclasses.dataclass(frozen=True)
class SideSettings:
    """Settings of a side; settings that are not mentioned have their usual values.

    Attributes:
        text: The settings as typed, for labels.
        workload: Typed fields of `Workload`.
        variant: Typed fields of `Variant`.
        picture: Typed fields of `AskedPicture`.
        subject: ``module:function``.
        device: A choice of the setting `DEVICE`.
    """

    text: str = ""
    workload: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    variant: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    picture: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    subject: str | None = None
    device: str | None = None

    def over(self, base: SideSettings) -> SideSettings:
        """Return these settings, completed by those of another."""
        return SideSettings(
            text=self.text,
            workload={**base.workload, **self.workload},
            variant={**base.variant, **self.variant},
            picture={**base.picture, **self.picture},
            subject=base.subject if self.subject is None else self.subject,
            device=base.device if self.device is None else self.device,
        )

    @property
    def left_open(self) -> frozenset[str]:
        """Which of steps and guidance are left open."""
        typed = self.workload
        return find_left_open(typed.get("num_inference_steps"), typed.get("guidance_scale"))

    def choose_picture(self) -> ChosenPicture:
        """Read the input files, and return what is drawn from beside the prompt.

        Raises:
            ConfigurationError: A file cannot be used, or the model cannot draw from it.
        """
        model = self.workload.get("model", EMBEDDED)
        asked = AskedPicture(**self.picture)
        return choose_picture(model, asked, is_subject=self.subject is not None)

    def make_workload(self, picture: InputPicture | None = None) -> Workload:
        """Return the workload; steps and guidance are the model's preset where not set.

        Args:
            picture: The result of `choose_picture`.

        Raises:
            ConfigurationError: The workload cannot be generated.
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
        own = {"guidance_scale": sampling.guidance_scale, "picture": picture}
        return Workload(**{**defaults, **self.workload, **own})


def parse_settings(texts: Sequence[str], base: str = "") -> SideSettings:
    """Read settings such as ``precision=fp16,mode=async``.

    Keys are those of `OF_A_SIDE`, or the fields of `Variant` and `Workload`, and ``profile=FILE``,
    which stands for all settings of a profile.

    Args:
        texts: Comma lists; a typed value overrides that of a profile before it.
        base: Settings that nobody typed, which all others override.

    Raises:
        ConfigurationError: A key is unknown or typed twice, or a value cannot be read.
    """
    found: dict[str, Any] = {}
    typed: dict[str, str] = {}
    for text in (base, *texts) if base else texts:
        for key, value in _split(text):
            if key == PROFILE.name:
                for own, kept in read_profile(Path(value.strip()).expanduser()).as_texts().items():
                    found |= _read_setting(own, kept)
            else:
                read = _read_setting(key, value)
                if text is not base:
                    _refuse_second(typed, read, f"{key}={value.strip()}")
                found |= read
    return SideSettings(
        ",".join(texts),
        {name: value for name, value in found.items() if name in _WORKLOAD_FIELDS},
        {name: value for name, value in found.items() if name in _VARIANT_FIELDS},
        {name: value for name, value in found.items() if name in _PICTURE_FIELDS},
        found.get(SUBJECT.name),
        found.get(DEVICE.name),
    )


def _read_setting(key: str, value: str) -> dict[str, Any]:
    """Read one setting; a size has two fields."""
    setting = _BY_KEY.get(key)
    if key in EDGES:
        return {key: _read(key, value, lambda text: _parse_open(text, EDGE.parse))}
    if setting is None:
        raise ConfigurationError(
            "a setting is unknown",
            got=key,
            expected=", ".join(list_keys()),
            hint=_suggest_key(key, value),
        )
    if setting is SIZE:
        return dict(zip(SIZE.fields, _read(key, value, SIZE.parse), strict=True))
    (name,) = setting.fields or (setting.name,)
    return {name: _read(key, value, _PARSERS.get(setting, setting.parse))}


def _refuse_second(typed: dict[str, str], names: Collection[str], text: str) -> None:
    """Note what was typed for these fields, and refuse what was typed for one of them before."""
    for name in names:
        if name in typed:
            raise ConfigurationError(
                "a setting was typed twice, and only one of them can be meant",
                got=f"{typed[name]} and {text}",
                expected="each setting once",
                hint="leave one of the two out",
            )
    typed |= dict.fromkeys(names, text)


def list_keys() -> list[str]:
    """List every key that a setting may have."""
    return [*(one.name for one in OF_A_SIDE), *EDGES, PROFILE.name]


def _suggest_key(key: str, value: str) -> str:
    """Say what to type in place of an unknown setting."""
    near = difflib.get_close_matches(key.lower(), list_keys(), n=1, cutoff=0.7)
    if near:
        return f"type {near[0]}={value.strip()}"
    return f"type one of these keys in its place, such as {STEPS.assign(20)}"


def _split(text: str) -> Iterator[tuple[str, str]]:
    """Split a comma list into keys and values."""
    for part in _BORDER.split(text):
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigurationError(
                "a setting cannot be read",
                got=part,
                expected=f"KEY=VALUE, such as {PRECISION.assign('fp16')},{STEPS.assign(20)}",
                hint=f"put one of these keys and = before it: {', '.join(list_keys())}",
            )
        yield key, value


def _read(key: str, value: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(value.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"the setting {key} cannot be used", got=value, expected=str(error)
        ) from error


def _parse_open(text: str, parse: Callable[[str], Any]) -> Any:
    return None if text == AUTO else parse(text)


_PARSERS: Final[Mapping[Setting[Any], Callable[[str], Any]]] = {
    OPTIMISATIONS: parse_named_optimisations,
    PROMPTS: lambda text: read_prompts(Path(text).expanduser(), f"{PROMPTS.name}="),
    ENGINE: parse_engine,
    THREADS: THREADS.parse_or_auto,
    SCHEDULER: SCHEDULER.parse_or_auto,
    **{one: one.parse_or_auto for one in (TASK, INPUT_IMAGE, MASK, STRENGTH)},
}
"""Readers of those settings of a side that are not read by their kind."""

_VARIANT_FIELDS: Final = frozenset(one.name for one in dataclasses.fields(Variant))
_PICTURE_FIELDS: Final = frozenset(one.name for one in dataclasses.fields(AskedPicture))
_WORKLOAD_FIELDS: Final = (
    frozenset(one.name for one in dataclasses.fields(Workload)) - _PICTURE_FIELDS
)
_BY_KEY: Final = {key: one for one in OF_A_SIDE for key in (one.name, *one.fields)}
