"""The processor as a device: nothing is queued, and memory is the process's own."""

from __future__ import annotations

import torch

from sdperf.device import DeviceInfo, DeviceKind
from sdperf.device.cpu_flags import read_cpu_native_precisions


class CpuDevice:
    """torch's CPU backend."""

    kind: DeviceKind = "cpu"
    peak_is_sampled = False

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device("cpu")

    def describe(self) -> DeviceInfo:
        """Report which precisions run natively; the host knows the processor's name."""
        return DeviceInfo(
            kind="cpu",
            name="",
            native_precisions=("fp32", *read_cpu_native_precisions()),
            gpu_cores=None,
            memory_bytes=None,
        )

    def synchronize(self) -> None:
        """Do nothing: CPU operators are done when they return."""

    def reset_peak(self) -> None:
        """Do nothing: the process's resident set is recorded instead."""

    def peak_bytes(self) -> int | None:
        """Return ``None``: the CPU has no memory apart from the process's."""
        return None

    def live_bytes(self) -> int | None:
        """Return ``None``, as `peak_bytes` does."""
        return None

    def driver_bytes(self) -> int | None:
        """Return ``None``, as `peak_bytes` does."""
        return None

    def empty_cache(self) -> None:
        """Do nothing: there is no cache of device blocks."""
