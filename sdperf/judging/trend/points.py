"""One figure of many runs: the points of a trend and the scale that it is read on. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final


@dataclass(frozen=True)
class Metric:
    """One figure that has a trend.

    Attributes:
        name: Its name on the command line.
        columns: Columns of the history; the first known one counts.
        is_ratio: Whether changes are ratios; else they are differences.
        spread_floor: Smallest plausible noise, in log units or in the metric's own unit.
        smallest: Smallest change and creep that are reported, in the same unit.
        worse: +1 where more is worse, -1 where less is.
    """

    name: str
    columns: tuple[str, ...]
    is_ratio: bool
    spread_floor: float
    smallest: float
    worse: int

    def scale(self, value: float) -> float:
        """Convert a value to the scale on which changes are differences."""
        return math.log(value) if self.is_ratio else value

    def accepts(self, value: float | None) -> bool:
        """Tell whether a value can be converted to the scale."""
        return value is not None and math.isfinite(value) and (value > 0 or not self.is_ratio)


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("seconds", ("seconds_per_image",), True, 0.003, math.log(1.01), 1),
        Metric("memory", ("peak_device_bytes", "peak_rss_bytes"), True, 0.003, math.log(1.01), 1),
        Metric("energy", ("gpu_energy_per_image_j",), True, 0.01, math.log(1.02), 1),
        Metric("first-call", ("first_call_s",), True, 0.01, math.log(1.05), 1),
        Metric("ssim", ("ssim",), False, 2e-4, 1e-3, -1),
        Metric("tile", ("worst_tile_ssim",), False, 5e-4, 2e-3, -1),
        Metric("entropy", ("entropy_bits",), False, 2e-3, 1e-2, -1),
    )
}


@dataclass(frozen=True)
class TrendPoint:
    """One run in a series.

    Attributes:
        run: Its number in the history.
        measured_at: When it was measured.
        commit: Commit that was measured, ``-dirty`` appended where it had changes.
        value: The value of the metric; positive where changes are ratios.
        environment: Facts on the machine and its software, by name; see `flatten_environment`.
        disturbance: Why the run is shown and does not count; ``None`` where it counts.
        is_accepted: Whether it was accepted as a baseline.
    """

    run: int
    measured_at: datetime
    commit: str | None
    value: float
    environment: Mapping[str, str]
    disturbance: str | None = None
    is_accepted: bool = False


def flatten_environment(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the names and values in a record's environment that may change times. Pure."""
    flat = {}
    system = [document.get(key) for key in ("os_name", "os_version", "os_build")]
    if any(system):
        flat["system"] = " ".join(str(part) for part in system if part)
    for key in ("python", "driver"):
        if document.get(key):
            flat[key] = str(document[key])
    for key in ("packages", "variables"):
        named = document.get(key)
        if isinstance(named, Mapping):
            flat |= {str(name): str(value) for name, value in named.items()}
    return flat
