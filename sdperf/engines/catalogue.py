"""The engines by name: what each is, what it needs, where it runs. This module loads no torch.

To register an engine, add an `EngineChoice` to `_ALL`: its ``module`` has a function
``make_engine(choice)`` that returns a `sdperf.engines.protocol.Engine`, and is imported in the
worker only.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sdperf.device import DeviceKind
from sdperf.engines.external.naming import (
    divide_engines,
    list_alternatives,
    parse_external,
    refuse_alternatives,
)
from sdperf.record.workload import EXTERNAL, TORCH, Precision, is_external, name_engine
from sdperf.settings import ENGINE

AUTO: Final = "auto"
"""Stands for every engine that is installed and native, torch included."""

FAMILIES: Final = ("sd", "sdxl")
"""The families of pipelines whose networks other engines than torch take over."""

FindVersion = Callable[[str], str | None]
"""Looks up the version of an installed distribution; ``None`` where it is not installed."""


@dataclass(frozen=True)
class EngineChoice:
    """One engine with its settings, as users name it.

    Attributes:
        name: Name that users type; also part of test ids.
        summary: Description of the engine, one line.
        module: Module with its ``make_engine``; empty for torch, which is plain diffusers.
        extra: Extra of sdperf that installs it; empty where none is needed.
        packages: Groups of distributions; it needs any one of each group. The first one of the
            first group gives the engine's version.
        options: Settings in which it differs from other engines of the same module.
        precisions: Precisions in which it can run.
        refusals: Device kinds that it cannot run on, each with the reason.
        foreign: Device kinds that it runs on when asked by name, each with the reason why ``auto``
            leaves it out there.
        in_auto: Whether ``auto`` takes it; an engine that changes the weights has to be named.
        fewer_bits: Whether it stores weights in fewer bits than the precision says; its images then
            have a lower floor.
        on_device: Distributions that a device kind needs beyond ``packages``, each with the extra
            that installs it.
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
    fewer_bits: bool = False
    on_device: Mapping[DeviceKind, tuple[str, str]] = field(default_factory=dict)


_ONNX_PACKAGES: Final = (("onnxruntime", "onnxruntime-gpu"), ("onnx",), ("onnxscript",))
_ONNX_ON_MPS: Final[Mapping[DeviceKind, str]] = {
    "mps": "ONNX Runtime has no provider for Metal: it runs on the CPU there"
}
_ONNX_ON_CUDA: Final[Mapping[DeviceKind, tuple[str, str]]] = {
    "cuda": ("onnxruntime-gpu", "onnx-gpu")
}
_ONLY_APPLE: Final[Mapping[DeviceKind, str]] = {
    "cpu": "Core ML runs on Apple's systems only",
    "cuda": "Core ML runs on Apple's systems only",
}
_OPENVINO_ON_CUDA: Final[Mapping[DeviceKind, str]] = {
    "cuda": "OpenVINO has no plugin for NVIDIA's GPUs"
}
_OPENVINO_ON_MPS: Final[Mapping[DeviceKind, str]] = {
    "mps": "OpenVINO has no plugin for Metal: it runs on the CPU there"
}
_MLX_PACKAGES: Final = (("mlx",),)
_MLX_ON_CUDA: Final[Mapping[DeviceKind, str]] = {
    "cuda": "sdperf runs MLX on Apple GPUs and on the CPU"
}
_MLX_ON_CPU: Final[Mapping[DeviceKind, str]] = {
    "cpu": "it is made for Apple GPUs, and on a CPU there to test its numbers"
}
_COREML_PACKAGES: Final = (("coremltools",),)
_COREML_ELSEWHERE: Final[Mapping[DeviceKind, str]] = {
    "cpu": "sdperf runs Core ML beside a pipeline on mps, so on a Mac",
    "cuda": "Core ML runs on Apple's systems only",
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
        on_device=_ONNX_ON_CUDA,
    ),
    EngineChoice(
        "onnx-int8",
        "ONNX Runtime, all weights in 8-bit integers, the UNet's products too (dynamic)",
        module="sdperf.engines.onnx",
        extra="onnx",
        packages=_ONNX_PACKAGES,
        options={"weights": "int8"},
        precisions=("fp32",),
        refusals={"cuda": "onnxruntime's CUDA provider has no kernels for dynamic int8"},
        foreign=_ONNX_ON_MPS,
        in_auto=False,
        fewer_bits=True,
    ),
    EngineChoice(
        "onnx-coreml",
        "ONNX Runtime with its Core ML provider: reported slower than plain MPS, so never unasked",
        module="sdperf.engines.onnx",
        extra="onnx",
        packages=_ONNX_PACKAGES,
        options={"provider": "CoreMLExecutionProvider"},
        refusals=_ONLY_APPLE,
        in_auto=False,
    ),
    EngineChoice(
        "openvino",
        "OpenVINO, on the CPU",
        module="sdperf.engines.openvino",
        extra="openvino",
        packages=(("openvino",),),
        precisions=("fp32", "fp16", "bf16"),
        refusals=_OPENVINO_ON_CUDA,
        foreign=_OPENVINO_ON_MPS,
    ),
    EngineChoice(
        "mlx",
        "MLX, on an Apple GPU",
        module="sdperf.engines.mlx",
        extra="mlx",
        packages=_MLX_PACKAGES,
        precisions=("fp32", "fp16", "bf16"),
        refusals=_MLX_ON_CUDA,
        foreign=_MLX_ON_CPU,
    ),
    EngineChoice(
        "mlx-compile",
        "MLX, each call compiled to one graph",
        module="sdperf.engines.mlx",
        extra="mlx",
        packages=_MLX_PACKAGES,
        options={"compile": "yes"},
        precisions=("fp32", "fp16", "bf16"),
        refusals=_MLX_ON_CUDA,
        foreign=_MLX_ON_CPU,
        in_auto=False,
    ),
    EngineChoice(
        "coreml",
        "Core ML on a Mac's GPU, with its own attention",
        module="sdperf.engines.coreml",
        extra="coreml",
        packages=_COREML_PACKAGES,
        options={"attention": "plain", "units": "cpu_and_gpu"},
        refusals=_COREML_ELSEWHERE,
    ),
    EngineChoice(
        "coreml-ane",
        "Core ML on the Neural Engine, with split-einsum attention",
        module="sdperf.engines.coreml",
        extra="coreml",
        packages=_COREML_PACKAGES,
        options={"attention": "split_einsum", "units": "cpu_and_ne"},
        precisions=("fp16",),
        refusals=_COREML_ELSEWHERE,
        in_auto=False,
    ),
    *(
        EngineChoice(
            f"coreml-{bits}bit",
            f"Core ML on the Neural Engine, the UNet's weights from palettes of {bits} bits",
            module="sdperf.engines.coreml",
            extra="coreml",
            packages=_COREML_PACKAGES,
            options={"attention": "split_einsum", "units": "cpu_and_ne", "bits": bits},
            precisions=("fp16",),
            refusals=_COREML_ELSEWHERE,
            in_auto=False,
            fewer_bits=True,
        )
        for bits in ("6", "4")
    ),
)

ENGINES: Final[Mapping[str, EngineChoice]] = {one.name: one for one in _ALL}
"""All engines by name, torch first."""


def parse_engines(text: str) -> tuple[str, ...]:
    """Parse ``torch,onnx``; ``auto`` alone means all engines that ``auto`` would try.

    Raises:
        ValueError: A name is unknown, or names no program.
    """
    names = divide_engines(text)
    if names == [AUTO]:
        return tuple(name for name, one in ENGINES.items() if one.in_auto)
    found = tuple(dict.fromkeys(one for name in names for one in _list_engines(name)))
    short = [name_engine(one) for one in found]
    for name in short:
        if short.count(name) > 1:
            raise ValueError(
                f"a name for each program: two are called {name.removeprefix('external-')} "
                "(external:NAME=COMMAND)"
            )
    return found


def _list_engines(name: str) -> list[str]:
    """Read the name of an engine, or of a program with a choice in its command."""
    if is_external(name):
        return [one.engine for one in list_alternatives(name)]
    return [parse_engine(name)]


def parse_engine(name: str) -> str:
    """Read the name of one engine; a program's command is spelt out as ``external:NAME=COMMAND``.

    Raises:
        ValueError: It is unknown, or names no program.
    """
    if is_external(name):
        return refuse_alternatives(parse_external(name)).engine
    if name not in ENGINES:
        known = ", ".join((AUTO, *ENGINES, f"{EXTERNAL}COMMAND"))
        near = difflib.get_close_matches(name.lower(), (AUTO, *ENGINES), n=1)
        meant = f" ({near[0]} is the nearest)" if near else ""
        raise ValueError(f"one of {known}, not {name or 'an empty name'!r}{meant}")
    return name


def find_version(distribution: str) -> str | None:
    """Look up the version of an installed distribution without importing it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def explain_absence(
    choice: EngineChoice, device: DeviceKind, find: FindVersion = find_version
) -> str | None:
    """Say which packages an engine lacks on a device and what installs them; ``None``: none."""
    missing = [group[0] for group in choice.packages if not any(map(find, group))]
    extra = choice.extra
    if device in choice.on_device and not find(choice.on_device[device][0]):
        package, extra = choice.on_device[device]
        missing = [package, *(one for one in missing if one not in choice.packages[0])]
    if not missing:
        return None
    return (
        f"the engine {choice.name} is not installed for {device} ({', '.join(missing)} missing): "
        f"pip install 'sdperf[{extra}]'"
    )


def explain_skip(
    choice: EngineChoice, device: DeviceKind, find: FindVersion = find_version
) -> str | None:
    """Say why ``auto`` leaves an engine out on a device; ``None`` where it takes it."""
    if device in choice.refusals:
        return f"the engine {choice.name} cannot run on {device}: {choice.refusals[device]}"
    absence = explain_absence(choice, device, find)
    if absence is not None:
        return absence
    if device in choice.foreign:
        return (
            f"the engine {choice.name} is not native on {device}: {choice.foreign[device]}; "
            f"force with {ENGINE} {choice.name}"
        )
    return None


def list_versions(choice: EngineChoice, find: FindVersion = find_version) -> dict[str, str]:
    """Return the versions of the packages that an engine needs, its own package first."""
    found = ((name, find(name)) for group in choice.packages for name in group)
    return {name: version for name, version in found if version is not None}
