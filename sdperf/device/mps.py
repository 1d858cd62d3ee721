"""An Apple GPU through ``torch.mps``. Exactly one thread of a process may call this module.

No other module of sdperf touches ``torch.mps``. ``torch.mps.Event`` is not used: its
``elapsed_time`` can deadlock and short intervals can come out negative (pytorch issue 162872).
"""

from __future__ import annotations

import torch

from sdperf.device import DeviceInfo, DeviceKind


def is_mps_available() -> bool:
    """Tell whether torch sees an Apple GPU; hosted virtual Macs say yes and have no usable one."""
    return bool(torch.backends.mps.is_available())


class MpsDevice:
    """The Apple GPU of this process."""

    kind: DeviceKind = "mps"

    def __init__(self) -> None:
        self._seen_bytes = 0

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device("mps")

    @property
    def peak_is_sampled(self) -> bool:
        """True before torch 2.13, which has no peak counter for MPS."""
        return not _has_peak_counter()

    def describe(self) -> DeviceInfo:
        """Report the memory limit; the host's record names the chip and its GPU cores.

        All Apple GPUs run fp16 natively; bf16 needs macOS 14, which torch 2.12 and newer imply,
        and is emulated in part on M1.
        """
        recommended = getattr(torch.mps, "recommended_max_memory", None)
        return DeviceInfo(
            kind="mps",
            name="Apple GPU",
            native_precisions=("fp32", "fp16", "bf16"),
            gpu_cores=None,
            memory_bytes=None if recommended is None else int(recommended()),
        )

    def synchronize(self) -> None:
        """Wait until the only MPS stream is empty, and sample the memory."""
        torch.mps.synchronize()
        self._sample()

    def reset_peak(self) -> None:
        """Start a new peak of allocated memory."""
        self._seen_bytes = 0
        if _has_peak_counter():
            torch.accelerator.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """Largest allocation by torch since `reset_peak`, bytes; sampled before torch 2.13.

        A counter that is below the memory that tensors were seen to hold is ignored.
        """
        self._sample()
        if _has_peak_counter():
            return max(self._seen_bytes, int(torch.accelerator.max_memory_allocated()))
        return self._seen_bytes

    def live_bytes(self) -> int | None:
        """Bytes that tensors hold now."""
        return int(torch.mps.current_allocated_memory())

    def driver_bytes(self) -> int | None:
        """Bytes that Metal has given this process: tensors, cache, and MPSGraph's own buffers."""
        return int(torch.mps.driver_allocated_memory())

    def empty_cache(self) -> None:
        """Give cached blocks back, and clear the graph cache that grows with every shape."""
        torch.mps.empty_cache()

    def _sample(self) -> None:
        self._seen_bytes = max(self._seen_bytes, int(torch.mps.current_allocated_memory()))


def _has_peak_counter() -> bool:
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    return version >= (2, 13) and hasattr(torch.accelerator, "max_memory_allocated")
