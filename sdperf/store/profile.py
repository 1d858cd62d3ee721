"""``sdperf-tuned.toml``: settings that ``sdperf tune`` found, for people and commands. Pure.

The only place that knows the format: `format_profile` writes what `parse_profile` reads.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import DEFAULT, PLAIN, parse_optimisations
from sdperf.record.workload import MODES, PRECISIONS, Mode, Precision

PROFILE_VERSION: Final = 1
DEFAULT_NAME: Final = "sdperf-tuned.toml"

_MAX_FILE_BYTES: Final = 1 << 16
_MAX_TEXT: Final = 500
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Profile:
    """Settings of a workload and how it is run, with what is known of them.

    Attributes:
        model: As in `sdperf.record.workload.Workload`.
        num_inference_steps: Likewise.
        guidance_scale: Likewise; ``None`` leaves it to the pipeline.
        scheduler: Likewise; ``None`` is the model's own.
        width: Pixels; ``None`` is the model's own size.
        height: Pixels; ``None`` exactly where ``width`` is.
        precision: As in `sdperf.record.workload.Variant`.
        mode: Likewise.
        workers: Likewise.
        optimisations: Likewise; a batch is one of them (``batch4``).
        evidence: Where the settings come from, for people; nothing is run by it.
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
    evidence: Mapping[str, Scalar] = field(default_factory=dict)

    def as_texts(self) -> dict[str, str]:
        """Return the settings as the options of a pytest run and the settings of a side spell them.

        Keys are the names of the ``--sd-*`` options, which are keys of ``sdperf ab --a`` too.
        """
        texts = {
            "model": self.model,
            "steps": str(self.num_inference_steps),
            "scheduler": self.scheduler or "auto",
            "precision": self.precision,
            "mode": self.mode,
            "workers": str(self.workers),
            "optimisations": "+".join(self.optimisations) or PLAIN,
        }
        if self.guidance_scale is not None:
            texts["guidance"] = f"{self.guidance_scale:.9f}".rstrip("0").rstrip(".")
        if self.width is not None:
            texts["size"] = f"{self.width}x{self.height}"
        return texts


def format_profile(profile: Profile) -> str:
    """Format a profile as TOML; a number of seconds or a name in ``evidence`` keeps its type."""
    settings: dict[str, Scalar | tuple[str, ...]] = {
        "model": profile.model,
        "steps": profile.num_inference_steps,
        **({} if profile.guidance_scale is None else {"guidance": profile.guidance_scale}),
        "precision": profile.precision,
        "mode": profile.mode,
        "workers": profile.workers,
        "optimisations": profile.optimisations,
    }
    if profile.scheduler is not None:
        settings["scheduler"] = profile.scheduler
    if profile.width is not None and profile.height is not None:
        settings["width"], settings["height"] = profile.width, profile.height
    lines = [
        "# Settings found by sdperf tune. To use them:",
        f"#   pytest benchmarks --sd-profile {DEFAULT_NAME}",
        f"#   sdperf ab --b profile={DEFAULT_NAME}",
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
        ConfigurationError: The file is missing, too large, or no profile.
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
    """Read a profile's text, every field checked.

    Args:
        text: TOML.
        name: What to call it in an error.

    Raises:
        ConfigurationError: It is no TOML, of another format, or a value cannot be used.
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
    missing = [key for key in ("model", "steps", "guidance") if key not in settings]
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
    """Quote a text: JSON's escapes are TOML's, but for DEL, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT:
        raise ValueError(f"a text of at most {_MAX_TEXT} characters")
    if any(ord(character) < 32 for character in value):
        raise ValueError("a text in one line")
    return value


def _read_class(value: object) -> str:
    if not isinstance(value, str) or not _CLASS_NAME.fullmatch(value):
        raise ValueError("the name of a class of diffusers")
    return value


def _whole(least: int, most: int, step: int = 1) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a whole number, {least} to {most}")
        if value % step:
            raise ValueError(f"a multiple of {step}")
        return value

    return read


def _read_guidance(value: object) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= cast("float", value) <= 1000:
        raise ValueError("a number, 0 to 1000")
    return float(cast("float", value))


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(" or ".join(choices))
        return value

    return read


def _read_optimisations(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("a list of names, such as ['device_loop']")
    if not value:
        return ()
    names = parse_optimisations("+".join(value))
    if names == (DEFAULT,):
        raise ValueError("optimisations by name; the default is another one on each device")
    return names


_READERS: Final[dict[str, tuple[str, Callable[[object], Any]]]] = {
    "model": ("model", _read_text),
    "steps": ("num_inference_steps", _whole(1, 10_000)),
    "guidance": ("guidance_scale", _read_guidance),
    "scheduler": ("scheduler", _read_class),
    "width": ("width", _whole(8, 65_536, step=8)),
    "height": ("height", _whole(8, 65_536, step=8)),
    "precision": ("precision", _one_of(PRECISIONS)),
    "mode": ("mode", _one_of(MODES)),
    "workers": ("workers", _whole(1, 1024)),
    "optimisations": ("optimisations", _read_optimisations),
}
"""Keys of ``[settings]``: the field of `Profile`, and how to read it."""
