"""The resources that a run took: one frozen record, each number with its scope in its name.

Scopes: ``tree`` is this process and all below it; ``system`` the whole machine, other programs
included; ``gpu_board`` an NVIDIA card with its memory; ``gpu_soc`` the GPU part alone of an Apple
chip; ``cpu_soc`` the processors of a chip, and similar names its other parts; ``machine`` all
behind the plug or battery. Numbers of different scopes never compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

MAX_TIMELINE_POINTS: Final = 200
"""The most points that a curve keeps."""

Gauge = Literal[
    "tree_cpu_percent",
    "tree_rss_bytes",
    "tree_footprint_bytes",
    "system_cpu_percent",
    "system_available_bytes",
    "system_swap_used_bytes",
    "gpu_board_utilisation_percent",
    "gpu_board_memory_busy_percent",
    "gpu_board_memory_used_bytes",
    "gpu_board_tree_memory_bytes",
    "gpu_board_power_w",
    "gpu_board_clock_mhz",
    "gpu_board_temperature_c",
    "gpu_board_throttled_percent",
    "gpu_board_power_capped_percent",
    "gpu_soc_utilisation_percent",
    "gpu_soc_memory_used_bytes",
    "gpu_soc_power_w",
    "gpu_soc_clock_mhz",
    "gpu_soc_top_clock_percent",
    "gpu_soc_temperature_c",
    "cpu_soc_power_w",
    "cpu_soc_clock_mhz",
    "cpu_soc_temperature_c",
    "cpu_soc_throttled_percent",
    "cpu_soc_voltage_v",
    "machine_power_w",
]
"""Numbers that have a value at each moment."""

Counter = Literal[
    "tree_cpu_s",
    "tree_disk_read_bytes",
    "tree_disk_written_bytes",
    "system_disk_read_bytes",
    "system_disk_written_bytes",
    "system_swapped_in_bytes",
    "system_swapped_out_bytes",
    "gpu_board_energy_j",
    "gpu_soc_energy_j",
    "cpu_soc_energy_j",
    "dram_soc_energy_j",
    "ane_soc_energy_j",
]
"""Numbers that only grow; their growth over the window is recorded."""

GAUGES: Final[tuple[Gauge, ...]] = get_args(Gauge)
COUNTERS: Final[tuple[Counter, ...]] = get_args(Counter)


Rate = Literal["tree_disk_read_bytes_per_s", "tree_disk_written_bytes_per_s"]
"""Growth of a counter from tick to tick, as a curve."""

RATES: Final[dict[Rate, Counter]] = {
    "tree_disk_read_bytes_per_s": "tree_disk_read_bytes",
    "tree_disk_written_bytes_per_s": "tree_disk_written_bytes",
}
"""Each rate and the counter that it comes from."""


@dataclass(frozen=True)
class Curve:
    """One gauge over the window; values in the unit of the gauge's name.

    Attributes:
        mean: Mean of all samples, which are evenly spaced except for the two at the borders.
        p95: Quantile 0.95 of all samples.
        peak: Largest sample; a shorter spike between two samples is missed.
        low: Smallest sample.
        samples: How many samples there were.
        times_s: Seconds since the window's start, at most `MAX_TIMELINE_POINTS`.
        values: Value at each of these times; the mean of several samples where there were more.
    """

    mean: float
    p95: float
    peak: float
    low: float
    samples: int
    times_s: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a curve whose values have no times.

        Raises:
            ValueError: The numbers of times and values differ.
        """
        if len(self.times_s) != len(self.values):
            raise ValueError(f"{len(self.times_s)} times for {len(self.values)} values")


@dataclass(frozen=True)
class ProcessUsage:
    """One process of the tree.

    Attributes:
        pid: Its process id; ids are reused and cannot be compared across runs.
        name: Name of its program.
        cpu_s: Processor seconds that it used within the window.
        cpu_percent: That time over the window; 100 is one core busy throughout.
        rss_peak_bytes: Largest sampled resident set; memory shared with others is counted whole.
        footprint_peak_bytes: Largest sampled footprint (macOS), Metal memory included.
    """

    pid: int
    name: str
    cpu_s: float
    cpu_percent: float | None
    rss_peak_bytes: int
    footprint_peak_bytes: int | None = None


@dataclass(frozen=True)
class ResourceUsage:
    """The resources that a watched window took. ``None`` is unknown, never zero.

    ``docs/resources.md`` says for each number where it comes from and what it does not prove.

    Attributes:
        window_s: Seconds of the window.
        images: How many images were delivered within it, where the caller knows.
        ticks: How often the probes were asked.
        interval_s: Seconds between two ticks, as set at the end of the window.
        watching_s: Seconds that the probes took, summed; they run beside the work, not within it.
        watching_cpu_s: Processor seconds of this process's sampling thread in that time.
        probes: Names of the probes that were asked.
        faults: Probes that failed, each with its error.
        processes: The tree's processes, busiest first, at most 32.
    """

    window_s: float
    images: int | None = None
    ticks: int = 0
    interval_s: float | None = None
    watching_s: float = 0.0
    watching_cpu_s: float = 0.0
    probes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    processes: tuple[ProcessUsage, ...] = ()
    tree_cpu_percent: Curve | None = None
    tree_rss_bytes: Curve | None = None
    tree_footprint_bytes: Curve | None = None
    system_cpu_percent: Curve | None = None
    system_available_bytes: Curve | None = None
    system_swap_used_bytes: Curve | None = None
    gpu_board_utilisation_percent: Curve | None = None
    gpu_board_memory_busy_percent: Curve | None = None
    gpu_board_memory_used_bytes: Curve | None = None
    gpu_board_tree_memory_bytes: Curve | None = None
    gpu_board_power_w: Curve | None = None
    gpu_board_clock_mhz: Curve | None = None
    gpu_board_temperature_c: Curve | None = None
    gpu_board_throttled_percent: Curve | None = None
    gpu_board_power_capped_percent: Curve | None = None
    gpu_soc_utilisation_percent: Curve | None = None
    gpu_soc_memory_used_bytes: Curve | None = None
    gpu_soc_power_w: Curve | None = None
    gpu_soc_clock_mhz: Curve | None = None
    gpu_soc_top_clock_percent: Curve | None = None
    gpu_soc_temperature_c: Curve | None = None
    cpu_soc_power_w: Curve | None = None
    cpu_soc_clock_mhz: Curve | None = None
    cpu_soc_temperature_c: Curve | None = None
    cpu_soc_throttled_percent: Curve | None = None
    cpu_soc_voltage_v: Curve | None = None
    machine_power_w: Curve | None = None
    tree_disk_read_bytes_per_s: Curve | None = None
    tree_disk_written_bytes_per_s: Curve | None = None
    tree_cpu_s: float | None = None
    tree_disk_read_bytes: float | None = None
    tree_disk_written_bytes: float | None = None
    system_disk_read_bytes: float | None = None
    system_disk_written_bytes: float | None = None
    system_swapped_in_bytes: float | None = None
    system_swapped_out_bytes: float | None = None
    gpu_board_energy_j: float | None = None
    gpu_soc_energy_j: float | None = None
    cpu_soc_energy_j: float | None = None
    dram_soc_energy_j: float | None = None
    ane_soc_energy_j: float | None = None

    @property
    def gpu_board_energy_per_image_j(self) -> float | None:
        """Joules of the whole NVIDIA board, idle draw included, over the images delivered."""
        return self._per_image(self.gpu_board_energy_j)

    @property
    def gpu_soc_energy_per_image_j(self) -> float | None:
        """Joules of the GPU part of an Apple chip over the images delivered."""
        return self._per_image(self.gpu_soc_energy_j)

    @property
    def watching_share(self) -> float | None:
        """Processor time of watching over the window: its upper cost on one core."""
        return self.watching_cpu_s / self.window_s if self.window_s > 0 else None

    def _per_image(self, energy_j: float | None) -> float | None:
        return None if energy_j is None or not self.images else energy_j / self.images
