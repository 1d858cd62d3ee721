"""Computes the memory of several workers, and whether they fit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.device import DeviceInfo
from sdperf.record.measurement import MemoryUsage
from sdperf.record.workload import REFERENCE_PRECISIONS, Precision
from sdperf.stats.summaries import sum_peaks
from sdperf.units import format_bytes

RAM_SHARE: Final = 0.7
"""Resident workers may fill this share of main memory together; with more, machines swap."""

DEVICE_SHARE: Final = 0.85
"""Resident workers may fill this share of a device's own memory together.

The rest is for contexts, fragments and other programs.
"""

FITS_EVERYWHERE_BYTES: Final = 2**30
"""Bytes that every machine has that runs a diffusion model: its memory need not be read."""

WEIGHT_BYTES: Final[Mapping[Precision, int]] = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Room:
    """The memory that the workers of a session share.

    Attributes:
        total_bytes: Memory of each device in bytes: its own, the part of unified memory that Metal
            recommends, or main memory.
        share: How much of it workers may fill, in [0, 1].
        devices: How many such devices workers take in turn.
    """

    total_bytes: int
    share: float
    devices: int = 1

    @property
    def fillable_bytes(self) -> int:
        """Bytes that the workers of one device may fill together."""
        return int(self.share * self.total_bytes)

    def holds(self, needs: Sequence[int]) -> bool:
        """Tell whether workers fit beside each other.

        Args:
            needs: Bytes of each worker, in the order in which workers take devices.
        """
        fullest = max(sum(needs[first :: self.devices]) for first in range(self.devices))
        return fullest <= self.fillable_bytes

    def describe(self) -> str:
        """Describe it, such as ``the 16.8 GiB that may be filled of 24.0 GiB``."""
        each = " each" if self.devices > 1 else ""
        devices = f" on {self.devices} devices" if self.devices > 1 else ""
        return (
            f"the {format_bytes(self.fillable_bytes)} that may be filled of "
            f"{format_bytes(self.total_bytes)}{each}{devices}"
        )


def find_room(device: DeviceInfo, ram_bytes: int | None) -> Room | None:
    """Return the room of a device; ``None`` where its memory is unknown.

    Args:
        device: The device of the workers.
        ram_bytes: Bytes of main memory, or of a container's limit.
    """
    if device.kind != "cpu" and device.memory_bytes is not None:
        return Room(device.memory_bytes, DEVICE_SHARE, device.count)
    return None if ram_bytes is None else Room(ram_bytes, RAM_SHARE)


def choose_widest(weights: int | None, room: Room | None, native: Sequence[str]) -> Precision:
    """Choose the precision that others are compared with: the widest that the memory holds.

    Args:
        weights: How many weights the pipeline has; ``None`` is unknown and chooses fp32.
        room: The memory; ``None`` is unknown and chooses fp32.
        native: What the device runs natively; where nothing fits, the narrowest is chosen.
    """
    if weights is None or room is None:
        return "fp32"
    usable = [one for one in REFERENCE_PRECISIONS if one in native]
    fitting = (one for one in usable if room.holds([weights * WEIGHT_BYTES[one]]))
    return next(fitting, usable[-1] if usable else "fp32")


def find_peak(memory: MemoryUsage, workers: int, device: DeviceInfo) -> int | None:
    """Return the most bytes that one of several workers took of the scarce memory.

    Args:
        memory: Peaks of all workers together.
        workers: How many workers there were.
        device: The device that they ran on.
    """
    on_host = device.kind == "cpu"
    peak_bytes = memory.peak_rss_bytes if on_host else memory.peak_device_bytes
    return None if peak_bytes is None else peak_bytes // workers


def sum_memory(
    rounds: Sequence[Sequence[MemoryUsage]], weight_bytes: Mapping[str, int]
) -> MemoryUsage:
    """Sum the workers' peaks over the rounds, and their memory after the last round.

    Args:
        rounds: The results of each worker after each round, one or more rounds.
        weight_bytes: Bytes of the weights of one worker, by component.
    """

    def peak(name: str, among: Sequence[Sequence[MemoryUsage]]) -> int | None:
        return sum_peaks([getattr(one, name) for one in workers] for workers in among)

    return MemoryUsage(
        peak_rss_bytes=peak("peak_rss_bytes", rounds),
        peak_device_bytes=peak("peak_device_bytes", rounds),
        peak_device_sampled=any(one.peak_device_sampled for workers in rounds for one in workers),
        live_device_bytes=peak("live_device_bytes", rounds[-1:]),
        driver_device_bytes=peak("driver_device_bytes", rounds[-1:]),
        weight_bytes=weight_bytes,
    )
