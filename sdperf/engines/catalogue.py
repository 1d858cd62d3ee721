"""The engines by name: what each is, what it needs, where it runs. Plain values; imports no torch.

To register an engine, add an `EngineChoice` to `_ALL`: its ``module`` has a function
``make_engine(choice)`` that returns a `sdperf.engines.protocol.Engine`, and is imported in the
worker only.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sdperf.device import DeviceKind
from sdperf.workload import TORCH, Precision

AUTO: Final = "auto"
"""Stands for every engine that is installed and native, torch included."""

FindVersion = Callable[[str], str | None]
"""Looks up the version of an installed distribution; ``None`` where it is not installed."""


@dataclass(frozen=True)
class EngineChoice:
    """One engine with its settings, as users name it.

    Attributes:
        name: What users type; also part of test ids.
        summary: What it is, one line.
        module: Where its ``make_engine`` lies; empty for torch, which is diffusers as it comes.
        extra: Extra of sdperf that installs it; empty needs none.
        packages: Groups of distributions that it needs: of each group, any one. The first one of
            the first group gives the engine's version.
        options: Settings that set it apart from others of the same module.
        precisions: Precisions that it can run.
        refusals: Device kinds that it cannot run on, each with the reason.
        foreign: Device kinds that it runs on when asked by name, each with the reason why ``auto``
            leaves it out there.
        in_auto: Whether ``auto`` takes it; one that changes the weights has to be named.
    """

    name: str
    summary: str
    module: str = ""
    extra: str = ""
    packages: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    refusals: Mapping[DeviceKind, str] = field(default_factory=dict)
    foreign: Mapping[DeviceKind, str] = field(default_factory=dict)
    in_auto: bool = True


_ONNX_PACKAGES: Final = (("onnxruntime", "onnxruntime-gpu"), ("onnx",), ("onnxscript",))
_ONNX_ON_MPS: Final[Mapping[DeviceKind, str]] = {
    "mps": "ONNX Runtime has no provider for Metal: it runs on the CPU there"
}

_ALL: Final = (
    EngineChoice(TORCH, "diffusers on torch, as it comes", precisions=("fp32", "fp16", "bf16")),
    EngineChoice(
        "onnx",
        "ONNX Runtime, on the CPU or a CUDA device",
        module="sdperf.engines.onnx",
        extra="onnx",
        packages=_ONNX_PACKAGES,
        foreign=_ONNX_ON_MPS,
    ),
)

ENGINES: Final[Mapping[str, EngineChoice]] = {one.name: one for one in _ALL}
"""All engines by name, torch first."""


def parse_engines(text: str) -> tuple[str, ...]:
    """Parse ``torch,onnx``; ``auto`` alone is all that ``auto`` would try.

    Raises:
        ValueError: A name is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if names == (AUTO,):
        return tuple(name for name, one in ENGINES.items() if one.in_auto)
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        known = ", ".join((AUTO, *ENGINES))
        raise ValueError(f"{unknown[0] or 'an empty name'!r} is none of {known}")
    return names


def find_version(distribution: str) -> str | None:
    """Look up the version of an installed distribution without importing it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def explain_absence(choice: EngineChoice, find: FindVersion = find_version) -> str | None:
    """Say which packages an engine lacks and the extra that installs them; ``None``: none."""
    missing = [group[0] for group in choice.packages if not any(map(find, group))]
    if not missing:
        return None
    return (
        f"the engine {choice.name} is not installed ({', '.join(missing)} missing): "
        f"pip install 'sdperf[{choice.extra}]'"
    )


def explain_skip(
    choice: EngineChoice, device: DeviceKind, find: FindVersion = find_version
) -> str | None:
    """Say why ``auto`` leaves an engine out on a device; ``None`` where it takes it."""
    if device in choice.refusals:
        return f"the engine {choice.name} cannot run on {device}: {choice.refusals[device]}"
    absence = explain_absence(choice, find)
    if absence is not None:
        return absence
    if device in choice.foreign:
        return (
            f"the engine {choice.name} is not native on {device}: {choice.foreign[device]}; "
            f"force with --sd-engine {choice.name}"
        )
    return None


def list_versions(choice: EngineChoice, find: FindVersion = find_version) -> dict[str, str]:
    """Return the versions of the packages that an engine needs, the engine's own first."""
    found = ((name, find(name)) for group in choice.packages for name in group)
    return {name: version for name, version in found if version is not None}
