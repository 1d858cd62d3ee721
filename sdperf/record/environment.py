"""The machine and the software of a measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sdperf.device import DeviceKind


@dataclass(frozen=True)
class Environment:
    """The machine and software of a run. ``None`` is unknown, never zero.

    Attributes:
        chip: Processor or system on a chip, such as ``Apple M4 Max``.
        device_kind: The kind of device that the pipeline ran on: ``cpu``, ``cuda`` or ``mps``.
        device_name: Name of the GPU, or of the processor for ``cpu``.
        gpu_cores: GPU cores (Apple) or multiprocessors (CUDA).
        ram_bytes: Installed (or allotted, in a container) main memory.
        cpu_cores: Logical processors this process may use.
        performance_cores: Fast cores among them; all of them where there is one kind.
        os_name: ``macOS``, or the Linux distribution's id.
        os_version: Version of the operating system, ``major.minor`` at least where known.
        os_build: Build of the operating system or kernel release.
        driver: Version of the NVIDIA driver; ``None`` elsewhere (Apple's comes with the OS).
        machine: Architecture, such as ``arm64``.
        power_source: ``ac``, ``battery`` or unknown.
        power_mode: ``low``, ``normal``, ``high`` or unknown.
        thermal_level: ``nominal``, ``moderate``, ``heavy``, ``trapping``, ``sleeping`` or unknown.
        python: Version of the interpreter.
        packages: Versions of torch, diffusers, transformers and their like.
        variables: Environment variables that change results (``PYTORCH_*``, ``OMP_*``, ...).
        commit: Commit of the code under test, with ``-dirty`` appended where it has changes.
    """

    chip: str
    device_kind: DeviceKind
    device_name: str
    machine: str
    os_name: str
    os_version: str
    python: str
    gpu_cores: int | None = None
    ram_bytes: int | None = None
    cpu_cores: int | None = None
    performance_cores: int | None = None
    os_build: str | None = None
    power_source: str | None = None
    power_mode: str | None = None
    thermal_level: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    driver: str | None = None

    def fingerprint(self) -> str:
        """Name the kind of machine whose times are comparable; keys baselines.

        Chip, GPU and its cores, memory, OS major.minor, torch major.minor and power mode take
        part; host name and Python version do not. It is readable and safe as a folder name.
        """
        software = (
            f"{self.os_name}-{_major_minor(self.os_version)}",
            f"torch-{_major_minor(self.packages.get('torch', 'unknown'))}",
        )
        return _join_slugs(*self._hardware(), *software, self._power())

    def machine_name(self) -> str:
        """Name the machine without its software, which stays when the OS or torch is updated.

        It is made like `fingerprint`, without the OS and torch. The history keys its series by it,
        so that a change of level is visible beside the update that caused it.
        """
        return _join_slugs(*self._hardware(), self._power())

    def _hardware(self) -> tuple[str | None, ...]:
        gib = None if self.ram_bytes is None else round(self.ram_bytes / 2**30)
        return (
            self.device_kind,
            self.chip,
            None if self.device_kind == "cpu" else self.device_name,
            None if self.gpu_cores is None else f"{self.gpu_cores}gpu",
            None if self.cpu_cores is None else f"{self.cpu_cores}cpu",
            None if gib is None else f"{gib}gib",
        )

    def _power(self) -> str:
        return f"power-{self.power_mode or 'unknown'}"


def _join_slugs(*parts: str | None) -> str:
    slugs = (re.sub(r"[^a-z0-9.]+", "-", (part or "").lower()).strip("-.") for part in parts)
    return "--".join(dict.fromkeys(slug for slug in slugs if slug))


def _major_minor(version: str) -> str:
    found = re.match(r"\d+(\.\d+)?", version)
    return found.group(0) if found else "unknown"
