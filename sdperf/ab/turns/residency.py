"""Tells whether workers fit beside each other; else the sides alternate and load again. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sdperf.device import DeviceInfo
from sdperf.record.measurement import MemoryUsage
from sdperf.run.memory import DEVICE_SHARE, RAM_SHARE


def fit_together(
    workers: Sequence[MemoryUsage], *, ram_bytes: int | None, device: DeviceInfo
) -> bool:
    """Tell whether workers with these peaks fit together; unknown peaks count as fitting.

    On unified memory (mps) the device's share comes out of main memory.

    Args:
        workers: Peaks of each worker.
        ram_bytes: Bytes of main memory.
        device: The device that they run on.
    """
    rss_bytes = sum(one.peak_rss_bytes or 0 for one in workers)
    device_bytes = sum(
        max(one.peak_device_bytes or 0, one.driver_device_bytes or 0) for one in workers
    )
    is_unified = device.kind == "mps"
    main_bytes = rss_bytes + (device_bytes if is_unified else 0)
    if ram_bytes is not None and main_bytes > RAM_SHARE * ram_bytes:
        return False
    limit_bytes = device.memory_bytes
    return limit_bytes is None or device_bytes <= DEVICE_SHARE * limit_bytes
