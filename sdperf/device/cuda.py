"""An NVIDIA GPU through ``torch.cuda``."""

from __future__ import annotations

import torch

from sdperf.device import DeviceInfo, DeviceKind


class CudaDevice:
    """A CUDA device, the current one of the thread that makes and calls this.

    Args:
        index: Number of the device, from 0, as torch counts them.
    """

    kind: DeviceKind = "cuda"
    peak_is_sampled = False

    def __init__(self, index: int = 0) -> None:
        torch.cuda.set_device(index)

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it, with its index."""
        return torch.device("cuda", torch.cuda.current_device())

    def describe(self) -> DeviceInfo:
        """Report name, multiprocessors and memory; 16-bit is native from Volta and Ampere on."""
        properties = torch.cuda.get_device_properties(self.torch_device)
        native = ["fp32"]
        if properties.major >= 7:
            native.append("fp16")
        if properties.major >= 8:
            native.append("bf16")
        return DeviceInfo(
            kind="cuda",
            name=properties.name,
            native_precisions=tuple(native),
            gpu_cores=properties.multi_processor_count,
            memory_bytes=properties.total_memory,
            compute_capability=(properties.major, properties.minor),
            index=torch.cuda.current_device(),
            count=torch.cuda.device_count(),
        )

    def synchronize(self) -> None:
        """Wait until all streams of the device are empty."""
        torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Start a new peak of allocated memory."""
        torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """Largest allocation by torch since `reset_peak`, bytes; not the driver's own share."""
        return int(torch.cuda.max_memory_allocated())

    def live_bytes(self) -> int | None:
        """Bytes that tensors hold now."""
        return int(torch.cuda.memory_allocated())

    def driver_bytes(self) -> int | None:
        """Bytes that torch's allocator has from the driver, without the CUDA context."""
        return int(torch.cuda.memory_reserved())

    def empty_cache(self) -> None:
        """Give cached blocks back to the driver."""
        torch.cuda.empty_cache()
