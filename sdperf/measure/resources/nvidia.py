"""Reads one NVIDIA board through its management library, which needs neither root nor torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, TypeVar

from sdperf.measure.resources.numbers import parse_amount, parse_percent, parse_whole
from sdperf.measure.resources.probe import Missing, Reading
from sdperf.record.usage import Counter, Gauge

T = TypeVar("T")

POWER_CAP: Final = 0x4
"""Clock-event bit: the board is at its power limit, which is usual under full load."""

SLOWDOWN: Final = 0x8 | 0x20 | 0x40 | 0x80
"""Clock-event bits of real throttling: hardware slowdown, thermal (driver, hardware), power brake.

Source: ``nvmlClocksEventReason*`` in ``nvml.h``.
"""

_NVML_CLOCK_SM: Final = 1
_NVML_TEMPERATURE_GPU: Final = 0
_CORES_PER_MULTIPROCESSOR: Final[Mapping[int, int]] = {
    6: 128,
    7: 64,
    8: 128,
    9: 128,
    10: 128,
    12: 128,
}
_CORES_OF_DATACENTRE_CARDS: Final[Mapping[tuple[int, int], int]] = {(6, 0): 64, (8, 0): 64}
_NO_PACKAGE: Final = Missing("nvidia-ml-py is not installed", "pip install 'sdperf[nvidia]'")


@dataclass(frozen=True)
class GpuUser:
    """A process that computes on the board; its memory is unknown to some drivers."""

    pid: int
    memory_bytes: int | None


class NvmlGpu:
    """One board. Each answer is ``None`` where the board or the driver does not know it."""

    def __init__(self, nvml: ModuleType | Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        mismatch = getattr(nvml, "NVMLLibraryMismatchError", nvml.NVMLError)
        self._refusals: tuple[type[Exception], ...] = (nvml.NVMLError, mismatch, AttributeError)

    def read_name(self) -> str | None:
        """Read the product's name."""
        name = self._ask(lambda: self._nvml.nvmlDeviceGetName(self._handle))
        return name.decode(errors="replace") if isinstance(name, bytes) else name

    def read_multiprocessors(self) -> int | None:
        """Compute the number of multiprocessors from the board's cores and compute capability."""
        cores = self._ask(lambda: self._nvml.nvmlDeviceGetNumGpuCores(self._handle))
        version = self._ask(lambda: self._nvml.nvmlDeviceGetCudaComputeCapability(self._handle))
        if cores is None or version is None:
            return None
        each = _CORES_OF_DATACENTRE_CARDS.get(
            tuple(version), _CORES_PER_MULTIPROCESSOR.get(version[0])
        )
        return None if each is None else int(cores) // each

    def read_clock_events(self) -> int | None:
        """Read the reasons why the clock is below its maximum now, as a bit mask."""
        return parse_whole(
            self._ask(lambda: self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle))
        )

    def read_utilisation(self) -> tuple[float | None, float | None]:
        """Read the shares of the last moment with a running kernel and with memory traffic."""
        rates = self._ask(lambda: self._nvml.nvmlDeviceGetUtilizationRates(self._handle))
        return parse_percent(getattr(rates, "gpu", None)), parse_percent(
            getattr(rates, "memory", None)
        )

    def read_users(self) -> tuple[GpuUser, ...] | None:
        """Read which processes compute on the board, of all users.

        In a container the numbers can be those of the host.
        """
        found = self._ask(lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        if found is None:
            return None
        return tuple(GpuUser(one.pid, parse_whole(one.usedGpuMemory)) for one in found)

    def read_gauges(self) -> dict[Gauge, float]:
        """Read the values of this moment."""
        nvml, handle = self._nvml, self._handle
        busy, memory_busy = self.read_utilisation()
        memory = self._ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
        power_mw = parse_amount(self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle)))
        events = self.read_clock_events()
        values: Mapping[Gauge, float | None] = {
            "gpu_board_utilisation_percent": busy,
            "gpu_board_memory_busy_percent": memory_busy,
            "gpu_board_memory_used_bytes": parse_amount(getattr(memory, "used", None)),
            "gpu_board_power_w": None if power_mw is None else power_mw / 1000,
            "gpu_board_clock_mhz": parse_amount(
                self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, _NVML_CLOCK_SM))
            ),
            "gpu_board_temperature_c": parse_amount(
                self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, _NVML_TEMPERATURE_GPU))
            ),
            "gpu_board_throttled_percent": _as_share(events, SLOWDOWN),
            "gpu_board_power_capped_percent": _as_share(events, POWER_CAP),
        }
        return {name: value for name, value in values.items() if value is not None}

    def read_energy_j(self) -> float | None:
        """Read the board's energy since its driver was loaded, joules."""
        energy_mj = parse_amount(
            self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        )
        return None if energy_mj is None else energy_mj / 1000

    def close(self) -> None:
        """Shut the library down."""
        self._ask(self._nvml.nvmlShutdown)

    def _ask(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except self._refusals:
            return None


class NvmlProbe:
    """Load, memory, power, energy, clock and temperature of one board.

    Args:
        gpu: The board.
        read_pids: Returns the ids of sdperf's own processes.
    """

    name = "nvml"
    period_s = 0.0

    def __init__(self, gpu: NvmlGpu, read_pids: Callable[[], frozenset[int]]) -> None:
        self._gpu = gpu
        self._read_pids = read_pids

    def begin(self) -> None:
        """Remember nothing."""

    def read(self) -> Reading:
        """Read the board, without sdperf's own memory where a container hides its processes."""
        gauges = self._gpu.read_gauges()
        pids = self._read_pids()
        ours = [user.memory_bytes for user in self._gpu.read_users() or () if user.pid in pids]
        known = [memory for memory in ours if memory is not None]
        if known:
            gauges["gpu_board_tree_memory_bytes"] = sum(known)
        energy_j = self._gpu.read_energy_j()
        counters: dict[Counter, float] = {}
        if energy_j is not None:
            counters["gpu_board_energy_j"] = energy_j
        return Reading(gauges, counters)

    def close(self) -> None:
        """Release the library."""
        self._gpu.close()


def open_nvml(
    visible_devices: str | None, load: Callable[[str], Any] = importlib.import_module
) -> NvmlGpu | Missing:
    """Open the first board that CUDA would show.

    Args:
        visible_devices: Value of ``CUDA_VISIBLE_DEVICES``. A number is read as NVML's own, which
            equals CUDA's where all boards are alike or ``CUDA_DEVICE_ORDER`` is ``PCI_BUS_ID``.
        load: Imports the library.
    """
    first = None if visible_devices is None else visible_devices.split(",")[0].strip()
    if first in ("", "-1"):
        return Missing("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    try:
        nvml = load("pynvml")
    except ImportError:
        return _NO_PACKAGE
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Missing(f"no NVIDIA driver answers ({error})")
    try:
        if first is None or first.isdecimal():
            handle = nvml.nvmlDeviceGetHandleByIndex(int(first or 0))
        else:
            handle = nvml.nvmlDeviceGetHandleByUUID(first)
    except nvml.NVMLError as error:
        nvml.nvmlShutdown()
        return Missing(f"the driver has no such board ({error})", "nvidia-smi -L")
    return NvmlGpu(nvml, handle)


def _as_share(events: int | None, bits: int) -> float | None:
    return None if events is None else 100.0 if events & bits else 0.0
