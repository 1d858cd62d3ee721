"""Finds what could name a person, a machine or a place, and keeps the rest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sdperf.measure.resources.apple.apple_parsers import THERMAL_LEVELS
from sdperf.record.environment import Environment

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}")
_HARDWARE: Final = re.compile(
    r"(?:[0-9]{1,2}th Gen )?(?:AMD|Ampere|Apple|Arm|ARM|AWS|Banana Pi|Common KVM|Cortex"
    r"|FriendlyElec|GeForce|Genuine|Graviton|Hardkernel|Intel|Jetson|Khadas|Neoverse|NVIDIA"
    r"|ODROID|Orange Pi|Pine64|QEMU|Qualcomm|Quadro|Radxa|Raspberry Pi|Rockchip|Snapdragon"
    r"|Tesla|VirtualApple)\b"
    r"[A-Za-z0-9 ()@.,+/-]{0,70}"
)
"""Matches names of hardware as manufacturers give them; an unlisted board becomes ``unknown``."""

_MACHINES: Final = frozenset({"aarch64", "AMD64", "arm64", "armv7l", "ppc64le", "x86_64"})
_SYSTEMS: Final = frozenset(
    {
        *("almalinux", "alpine", "amzn", "arch", "centos", "debian", "fedora", "gentoo", "kali"),
        *("linux", "linuxmint", "macOS", "manjaro", "nixos", "ol", "opensuse-leap"),
        *("opensuse-tumbleweed", "pop", "raspbian", "rhel", "rocky", "sles", "ubuntu", "win32"),
    }
)
_POWER_SOURCES: Final = frozenset({"ac", "battery"})
_POWER_MODES: Final = frozenset({"low", "normal", "high"})
_VERSION: Final = re.compile(
    r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}(?:(?:a|b|rc)[0-9]{1,3})?(?:\.(?:dev|post)[0-9]{1,8})?"
    r"(?![0-9A-Za-z]|\.[0-9])"
)
_BUILD_OF: Final = re.compile(r"\+(?:cpu|cu[0-9]{2,3}|rocm[0-9.]{1,8}|git[0-9a-f]{7,40})")
_MAC_BUILD: Final = re.compile(r"[0-9]{2}[A-Z][0-9]{1,5}[a-z]?(?![0-9A-Za-z])")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_SETTING: Final = re.compile(
    r"[0-9]{1,6}(?:\.[0-9]{1,6})?|true|false|on|off|yes|no|low|medium|high|highest", re.IGNORECASE
)
_PUBLIC_VARIABLE: Final = re.compile(
    r"(?:PYTORCH|METAL|MTL|OMP|MKL|KMP|OPENBLAS|VECLIB|CUBLAS|CUDNN|ONEDNN|DNNL|NVIDIA_TF32)_"
    r"[A-Z0-9_]{1,60}"
)
_KNOWN_PACKAGES: Final = frozenset(
    {
        *("accelerate", "diffusers", "mlx", "numpy", "onnxruntime", "pytest-benchmark"),
        *("scikit-image", "sdperf", "torch", "torchao", "transformers"),
    }
)

_TRACES: Final[Mapping[str, re.Pattern[str]]] = {
    "a path": re.compile(r"(?:^|[\s\"'=:(,])(?:~?/[\w.~-]|[A-Za-z]:\\)|/Users/|/home/|/Volumes/"),
    "a mail address": re.compile(r"[\w.+-]@[\w-]+\.[\w.-]"),
    "a hardware address": re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b"),
    "an IP address": re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b"),
    "an identifier": re.compile(r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b"),
    "a serial number": re.compile(
        r"\b(?=[A-Z0-9]*[A-Z])(?=[A-Z0-9]*[0-9])[A-Z0-9]{10,16}\b|\b[0-9a-f]{16}\b"
    ),
    "a host name": re.compile(r"[\w-]\.(?:local|lan|home|internal|corp)\b", re.IGNORECASE),
}
_PUBLIC_FIELDS: Final = re.compile(
    r"\.(?:chip|device_kind|device_name|machine|os_name|kind|stage|model|prompts|variant|outcome"
    r"|guards\.[^.]*|disturbed\[[0-9]+\])$"
)
"""Words of manufacturers, distributions and sdperf, which may also be a person's name."""

_SHORTEST_NAME: Final = 3


@dataclass(frozen=True)
class Identity:
    """Names that must not leave the machine.

    Attributes:
        names: Host and user names, in any spelling; names under three letters are not searched for.
    """

    names: tuple[str, ...] = ()


def clean_word(text: str | None) -> str | None:
    """Return a plain word, such as a variant's name; ``None`` for anything else."""
    return text if text is not None and _PLAIN.fullmatch(text) else None


def clean_hash(text: str) -> str:
    """Return a SHA-256 in hexadecimal digits; empty for anything else."""
    return text if _HASH.fullmatch(text) else ""


def clean_environment(environment: Environment) -> Environment:
    """Return an environment without its commit, places and anything that somebody typed."""
    is_mac = environment.os_name == "macOS"
    build = (_MAC_BUILD if is_mac else _VERSION).match(environment.os_build or "")
    return replace(
        environment,
        chip=_clean_hardware(environment.chip),
        device_name=_clean_hardware(environment.device_name),
        machine=_one_of(_MACHINES, environment.machine) or "unknown",
        os_name=_one_of(_SYSTEMS, environment.os_name) or "unknown",
        os_version=_clean_version(environment.os_version) or "unknown",
        os_build=build.group() if build else None,
        python=_clean_version(environment.python) or "unknown",
        driver=_clean_version(environment.driver),
        power_source=_one_of(_POWER_SOURCES, environment.power_source),
        power_mode=_one_of(_POWER_MODES, environment.power_mode),
        thermal_level=_one_of(frozenset(THERMAL_LEVELS), environment.thermal_level),
        packages={
            name: version
            for name, text in sorted(environment.packages.items())
            if name in _KNOWN_PACKAGES and (version := _clean_version(text))
        },
        variables={
            name: value if _SETTING.fullmatch(value) else "set"
            for name, value in sorted(environment.variables.items())
            if _PUBLIC_VARIABLE.fullmatch(name)
        },
        commit=None,
    )


def is_clean_environment(environment: Environment) -> bool:
    """Tell whether cleaning an environment would change nothing."""
    return clean_environment(environment) == environment


def find_identifying(document: object, identity: Identity) -> list[str]:
    """Find the parts of a JSON value that could name a person or a place.

    Args:
        document: Plain JSON values.
        identity: Names to search for; names of hardware are not searched.

    Returns:
        The place and the kind of each finding, never the text itself.
    """
    names = [
        re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE)
        for name in identity.names
        if len(name) >= _SHORTEST_NAME
    ]
    found = []
    for where, text in _walk(document, ""):
        found += [f"{where}: {what}" for what, trace in _TRACES.items() if trace.search(text)]
        if _PUBLIC_FIELDS.search(where) is None:
            found += [f"{where}: a name" for name in names if name.search(text)]
    return found


def _walk(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key.isupper():  # a variable; all other keys are sdperf's own words
                yield f"{where}.<key>", key.replace("_", " ")
            yield from _walk(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, f"{where}[{index}]")


def _clean_hardware(text: str) -> str:
    words = text.strip("\0 \n")
    is_plain = _HARDWARE.fullmatch(words) and not any(
        trace.search(words) for trace in _TRACES.values()
    )
    return words if is_plain else "unknown" if text else ""


def _one_of(known: frozenset[str], text: str | None) -> str | None:
    return text if text in known else None


def _clean_version(text: str | None) -> str | None:
    found = _VERSION.match(text or "")
    if found is None or text is None:
        return None
    build = _BUILD_OF.fullmatch(text[found.end() :])
    return found.group() + (build.group() if build else "")
