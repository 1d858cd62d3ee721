"""``sdperf-tuned.toml``: settings that ``sdperf tune`` found, for people and commands. Pure.

The only place that knows the format: `format_profile` writes what `parse_profile` reads.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import parse_named_optimisations
from sdperf.record.workload import TORCH, Mode, Precision
from sdperf.settings import (
    ENGINE,
    ENGINES,
    GUIDANCE,
    MODE,
    MODEL,
    OPTIMISATIONS,
    PRECISION,
    PROFILE,
    SCALE,
    SCHEDULER,
    SIZE,
    STEPS,
    WORKERS,
)
from sdperf.settings.kinds import EDGE, Kind, Setting, choice

PROFILE_VERSION: Final = 1
DEFAULT_NAME: Final = "sdperf-tuned.toml"

_MAX_FILE_BYTES: Final = 1 << 16

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Profile:
    """Settings of a workload and of how it is run, with their origin.

    Attributes:
        model: The model, as `sdperf.record.workload.Workload` names it.
        num_inference_steps: Denoising steps of an image.
        guidance_scale: Strength of guidance; ``None`` leaves it to the pipeline.
        scheduler: Class of the scheduler; ``None`` is the model's own.
        width: Pixels; ``None`` is the model's own size.
        height: Pixels; ``None`` exactly where ``width`` is.
        precision: Precision of the pipeline, as `sdperf.record.workload.Variant` names it.
        mode: ``sync`` or ``async``.
        workers: How many workers draw at once.
        optimisations: Names of optimisations; a batch is one of them (``batch4``).
        engine: What runs the networks. A program of the user's cannot be one: its command would be
            run by whoever reads the file.
        evidence: Where the settings come from, for people; no command uses it.
    """

    model: str
    num_inference_steps: int
    guidance_scale: float | None
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    precision: Precision = "fp32"
    mode: Mode = "sync"
    workers: int = 1
    optimisations: tuple[str, ...] = ()
    engine: str = TORCH
    evidence: Mapping[str, Scalar] = field(default_factory=dict)

    def as_texts(self) -> dict[str, str]:
        """Return the settings in the spelling of pytest options and of a side's settings.

        Both use the same keys.
        """
        texts: dict[Setting[Any], str] = {
            MODEL: MODEL.format(self.model),
            STEPS: STEPS.format(self.num_inference_steps),
            SCHEDULER: SCHEDULER.format(self.scheduler),
            PRECISION: PRECISION.format(self.precision),
            MODE: MODE.format(self.mode),
            WORKERS: WORKERS.format(self.workers),
            ENGINE: ENGINE.format(self.engine),
            OPTIMISATIONS: OPTIMISATIONS.format(self.optimisations),
        }
        if self.guidance_scale is not None:
            texts[GUIDANCE] = GUIDANCE.format(self.guidance_scale)
        if self.width is not None and self.height is not None:
            texts[SIZE] = SIZE.format((self.width, self.height))
        return {setting.key: text for setting, text in texts.items()}


def format_profile(profile: Profile) -> str:
    """Format a profile as TOML; a number of seconds or a name in ``evidence`` keeps its type."""
    settings: dict[str, Scalar | tuple[str, ...]] = {
        MODEL.name: profile.model,
        STEPS.name: profile.num_inference_steps,
        **({} if profile.guidance_scale is None else {GUIDANCE.name: profile.guidance_scale}),
        PRECISION.name: profile.precision,
        MODE.name: profile.mode,
        WORKERS.name: profile.workers,
        OPTIMISATIONS.name: profile.optimisations,
    }
    if profile.engine != TORCH:  # an sdperf that knows no engine here reads all others
        settings[ENGINE.name] = profile.engine
    if profile.scheduler is not None:
        settings[SCHEDULER.name] = profile.scheduler
    if profile.width is not None and profile.height is not None:
        settings |= zip(SIZE.fields, (profile.width, profile.height), strict=True)
    lines = [
        "# Settings found by sdperf tune. To use them:",
        f"#   pytest benchmarks {PROFILE} {DEFAULT_NAME}",
        f"#   sdperf ab --b {PROFILE.assign(Path(DEFAULT_NAME))}",
        f"format_version = {PROFILE_VERSION}",
        "",
        "[settings]",
        *(f"{name} = {_format_value(value)}" for name, value in settings.items()),
    ]
    if profile.evidence:
        lines += ["", "[evidence]"]
        lines += [
            f"{_format_text(name)} = {_format_value(value)}"
            for name, value in profile.evidence.items()
        ]
    return "\n".join(lines) + "\n"


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises:
        ConfigurationError: The file is missing, too large, or not a profile.
    """
    hint = "sdperf tune writes one"
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the profile {path} cannot be read", got=error.strerror, hint=hint
        ) from error
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigurationError(
            f"the profile {path} is too large",
            expected=f"at most {_MAX_FILE_BYTES} bytes",
            hint=hint,
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the profile {path} is not text", got=f"byte {error.start} is not UTF-8", hint=hint
        ) from error
    return parse_profile(text, f"the profile {path}")


def parse_profile(text: str, name: str = "the profile") -> Profile:
    """Read a profile's text, and check every field.

    Args:
        text: TOML.
        name: The name of the profile, for messages.

    Raises:
        ConfigurationError: The text is not TOML, has another format, or a value cannot be used.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is no TOML", got=str(error)[:200]) from error
    version = document.get("format_version")
    if version != PROFILE_VERSION or isinstance(version, bool):
        raise ConfigurationError(
            f"{name} has another format",
            got=f"format_version {str(version)[:40]}",
            expected=f"format_version {PROFILE_VERSION}",
            hint="make it again with this sdperf: sdperf tune",
        )
    settings = document.get("settings")
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{name} has no settings", expected="a table [settings]")
    unknown = sorted(set(settings) - set(_READERS))
    if unknown:
        raise ConfigurationError(
            f"a setting of {name} is unknown", got=unknown[0][:80], expected=", ".join(_READERS)
        )
    values: dict[str, Any] = {}
    for key, (field_name, read) in _READERS.items():
        if key not in settings:
            continue
        try:
            values[field_name] = read(settings[key])
        except ValueError as error:
            raise ConfigurationError(
                f"the setting {key} of {name} cannot be used",
                got=repr(settings[key])[:80],
                expected=str(error),
            ) from error
    missing = [one.name for one in (MODEL, STEPS, GUIDANCE) if one.name not in settings]
    if missing or ("width" in values) != ("height" in values):
        lacks = missing[0] if missing else "width" if "height" in values else "height"
        raise ConfigurationError(f"{name} lacks a setting", expected=lacks)
    evidence = document.get("evidence", {})
    if not isinstance(evidence, dict) or not all(
        isinstance(value, str | int | float | bool) for value in evidence.values()
    ):
        raise ConfigurationError(
            f"the evidence of {name} cannot be read", expected="names with texts and numbers"
        )
    return Profile(**values, evidence=evidence)


def _format_value(value: Scalar | tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _format_text(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_format_text, value))}]"
    return repr(value)


def _format_text(text: str) -> str:
    """Quote a text: TOML has the escapes of JSON, and requires one for DEL too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(kind: Kind[Any], types: tuple[type, ...]) -> Callable[[object], Any]:
    """Read a TOML value as a kind of setting, where it has a type of that kind."""

    def read(value: object) -> Any:
        if isinstance(value, bool) or not isinstance(value, types):
            raise ValueError(kind.expected or "a text in one line")
        return kind.parse(value if isinstance(value, str) else repr(value))

    return read


def _read_optimisations(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of names, such as ['device_loop']")
    return parse_named_optimisations("+".join(value)) if value else ()


_READERS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    **{
        one.name: (one.fields[0], _read(kind, types))
        for one, kind, types in (
            (MODEL, MODEL.kind, (str,)),
            (STEPS, STEPS.kind, (int,)),
            (GUIDANCE, SCALE, (int, float)),
            (SCHEDULER, SCHEDULER.kind, (str,)),
            (PRECISION, PRECISION.kind, (str,)),
            (MODE, MODE.kind, (str,)),
            (WORKERS, WORKERS.kind, (int,)),
            (ENGINE, choice(ENGINES), (str,)),
        )
    },
    **{edge: (edge, _read(EDGE, (int,))) for edge in SIZE.fields},
    OPTIMISATIONS.name: (OPTIMISATIONS.fields[0], _read_optimisations),
}
"""Keys of ``[settings]``: the field of `Profile`, and how to read it."""
