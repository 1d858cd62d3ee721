"""The device a pipeline runs on, behind one protocol: `cpu`, `cuda`, `mps`.

Everything that touches ``torch.cuda`` or ``torch.mps`` lives in this package, so that timing and
memory behave alike on all of them and can be tested with a fake.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from sdperf.errors import ConfigurationError
from sdperf.settings import DEVICE

if TYPE_CHECKING:
    import torch

DeviceKind = Literal["cpu", "cuda", "mps"]

AUTO: Final[tuple[DeviceKind, ...]] = ("mps", "cuda", "cpu")
"""What ``auto`` takes: the first of them that torch sees."""

DEVICE_CHOICES: Final = ("auto", *AUTO)


@dataclass(frozen=True)
class DeviceInfo:
    """The device as a worker reports it, in plain values that can be sent to another process.

    Attributes:
        kind: ``cpu``, ``cuda`` or ``mps``.
        name: Name of the GPU; empty on the CPU, whose name the host knows.
        native_precisions: Precisions that the hardware runs without emulation.
        gpu_cores: Multiprocessors (CUDA); ``None`` where torch cannot tell.
        memory_bytes: Device memory, or the recommended limit on unified memory.
        compute_capability: Version of a CUDA device's instruction set, as (major, minor).
        index: Number of the CUDA device, from 0, as torch counts them.
        count: Number of CUDA devices, which workers take in turn.
    """

    kind: DeviceKind
    name: str
    native_precisions: tuple[str, ...]
    gpu_cores: int | None
    memory_bytes: int | None
    compute_capability: tuple[int, int] | None = None
    index: int | None = None
    count: int = 1


class Device(Protocol):
    """The operations that sdperf needs of a device; only the thread that owns it calls them."""

    kind: DeviceKind

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""

    def describe(self) -> DeviceInfo:
        """Report the device's facts."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def reset_peak(self) -> None:
        """Start a new peak of allocated memory."""

    def peak_bytes(self) -> int | None:
        """Largest allocation since `reset_peak`, bytes; ``None`` where it cannot be known."""

    @property
    def peak_is_sampled(self) -> bool:
        """Whether the peak is only the largest value that was seen at borders and steps."""

    def live_bytes(self) -> int | None:
        """Memory that tensors hold now, bytes; ``None`` where the device has no separate memory."""

    def driver_bytes(self) -> int | None:
        """Memory that torch has from the driver now, with its cache, bytes; ``None``: unknown."""

    def empty_cache(self) -> None:
        """Give cached blocks back to the driver, between models."""


def select_device(choice: str, slot: int = 0) -> Device:
    """Return the device for a choice of the setting ``device``; ``auto``: mps, then cuda, then cpu.

    Args:
        choice: The user's value of the setting.
        slot: Number of the worker, from 0: on a host with several GPUs the workers take them in
            turn. The choice holds for the calling thread, because CUDA keeps it by thread.

    Raises:
        ConfigurationError: The choice is unknown, torch does not see such a device, or would
            refuse to use it with the memory watermarks that the environment sets.
    """
    if choice not in DEVICE_CHOICES:
        raise ConfigurationError(
            "the device is unknown", got=choice, expected=", ".join(DEVICE_CHOICES)
        )
    import torch

    from sdperf.device.mps import is_mps_available

    available = {
        "mps": is_mps_available(),
        "cuda": torch.cuda.is_available(),
        "cpu": True,
    }
    kind = next(kind for kind in AUTO if available[kind]) if choice == "auto" else choice
    if not available[kind]:
        raise ConfigurationError(
            f"torch {torch.__version__} sees no {kind} device here",
            got=f"{DEVICE} {kind}",
            expected=" or ".join(kind for kind, there in available.items() if there),
            hint=f"use {DEVICE} auto, or install a torch build for this device",
        )
    if kind == "mps":
        from sdperf.device.mps import MpsDevice
        from sdperf.device.mps_watermarks import parse_watermarks

        parse_watermarks(os.environ)
        return MpsDevice()
    if kind == "cuda":
        from sdperf.device.cuda import CudaDevice

        return CudaDevice(choose_index(slot, torch.cuda.device_count()))
    from sdperf.device.cpu import CpuDevice

    return CpuDevice()


def choose_index(slot: int, devices: int) -> int:
    """Give workers the GPUs in turn. Pure.

    Args:
        slot: Number of the worker, from 0.
        devices: How many GPUs torch sees: those that ``CUDA_VISIBLE_DEVICES`` leaves.
    """
    return slot % max(1, devices)
