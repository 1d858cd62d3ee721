"""The settings of a Core ML conversion and of its execution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from sdperf.engines.catalogue import EngineChoice
from sdperf.errors import EngineError

AttentionLayout = Literal["plain", "split_einsum"]
ComputeUnits = Literal["all", "cpu_and_gpu", "cpu_and_ne", "cpu_only"]

_BITS: Final = ("6", "4")


@dataclass(frozen=True)
class CoreMlSettings:
    """How parts are converted and where they run.

    Attributes:
        attention: ``plain`` is Core ML's own operator, ``split_einsum`` the Neural Engine's layout.
        units: Processors that Core ML may choose from.
        bits: Bits of the UNet's palettised weights; ``None`` leaves them as they are.
    """

    attention: AttentionLayout = "plain"
    units: ComputeUnits = "all"
    bits: int | None = None


def read_settings(choice: EngineChoice) -> CoreMlSettings:
    """Read the options ``attention``, ``units`` and ``bits`` of a choice.

    Raises:
        EngineError: One has a value that does not exist.
    """
    bits = choice.options.get("bits")
    return CoreMlSettings(
        attention=cast(
            "AttentionLayout", _pick(choice, "attention", get_args(AttentionLayout), "plain")
        ),
        units=cast("ComputeUnits", _pick(choice, "units", get_args(ComputeUnits), "all")),
        bits=None if bits is None else int(_pick(choice, "bits", _BITS, bits)),
    )


def _pick(choice: EngineChoice, name: str, known: tuple[str, ...], default: str) -> str:
    value = choice.options.get(name, default)
    if value not in known:
        raise EngineError(
            f"the engine {choice.name} has no such {name}", got=value, expected=", ".join(known)
        )
    return value
