"""Find the 16-bit floating point formats that a processor supports natively, by its feature flags.

A format that is not native still works on the CPU, by conversion to float32 and back, and is then
usually slower than float32; such a time says nothing about the format. This module loads no torch.
"""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Final, Literal

NativePrecision = Literal["fp16", "bf16"]

_NATIVE_FLAGS: Final[tuple[tuple[NativePrecision, frozenset[str]], ...]] = (
    ("fp16", frozenset({"avx512_fp16"})),
    ("fp16", frozenset({"amx_fp16"})),
    ("fp16", frozenset({"fphp", "asimdhp"})),
    ("fp16", frozenset({"FEAT_FP16"})),
    ("bf16", frozenset({"avx512_bf16"})),
    ("bf16", frozenset({"amx_bf16"})),
    ("bf16", frozenset({"bf16"})),
    ("bf16", frozenset({"FEAT_BF16"})),
)
"""A format is native where the processor has all flags of one row: x86, x86, Arm, Apple."""

_SYSCTL_COMMAND: Final = (
    "/usr/sbin/sysctl",
    "-i",
    "hw.optional.arm.FEAT_FP16",
    "hw.optional.arm.FEAT_BF16",
)


def cpu_native_precisions(flags: frozenset[str]) -> frozenset[NativePrecision]:
    """Tell which 16-bit formats a processor with these flags multiplies natively.

    Args:
        flags: The names that `parse_cpuinfo_flags` or `parse_sysctl_flags` return.

    Source: the flag names of Linux' ``/proc/cpuinfo`` (x86 ``cpufeatures.h``, arm64
    ``elf_hwcaps``) and of macOS' ``hw.optional.arm``.
    """
    return frozenset(name for name, needed in _NATIVE_FLAGS if needed <= flags)


def read_cpu_native_precisions(
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> tuple[NativePrecision, ...]:
    """Tell which 16-bit formats this machine's processor is known to multiply natively.

    Returns:
        Those formats in alphabetical order; none where the system does not tell.
    """
    return tuple(sorted(cpu_native_precisions(read_cpu_flags(cpuinfo) or frozenset())))


def parse_cpuinfo_flags(text: str) -> frozenset[str]:
    """Read the flags that every processor of a ``/proc/cpuinfo`` has; empty where none is named.

    Cores of different kinds can differ, and a thread may run on any of them, so only the flags that
    all of them have count.
    """
    rows = [
        frozenset(row.split())
        for row in re.findall(r"^(?:flags|Features)[ \t]*:(.*)$", text, flags=re.MULTILINE)
    ]
    return frozenset.intersection(*rows) if rows else frozenset()


def parse_sysctl_flags(text: str) -> frozenset[str]:
    """Read the ``hw.optional.arm.FEAT_*`` switches that are on from ``sysctl -i`` output."""
    found = re.findall(r"^hw\.optional\.arm\.(FEAT_\w+):[ \t]*1[ \t]*$", text, flags=re.MULTILINE)
    return frozenset(found)


def read_cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """Read the flags of this machine's processor.

    Returns:
        The flags; ``None`` where the system does not tell, which differs from an empty set.
    """
    if platform.system() == "Darwin":
        try:
            answer = subprocess.run(
                _SYSCTL_COMMAND, capture_output=True, check=True, timeout=2.0, text=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return parse_sysctl_flags(answer.stdout)
    try:
        return parse_cpuinfo_flags(cpuinfo.read_text(errors="replace")) or None
    except OSError:
        return None
