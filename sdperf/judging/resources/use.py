"""Does a picture take too much energy, or leave cores idle? Only where a limit is given. Pure."""

from __future__ import annotations

from typing import Final

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import THREADS, UNWATCHED

ENERGY: Final = "energy"
CORES: Final = "cores"


def read_energy_per_image_j(measurement: Measurement) -> tuple[float, str] | None:
    """Return joules per picture, and the name of the device that took them.

    Returns:
        ``None`` where nothing was watched, or the device's energy is not known.
    """
    usage = measurement.resources
    if usage is None or not usage.images:
        return None
    sources: tuple[tuple[float | None, str], ...] = (
        (usage.gpu_board_energy_j, "the GPU board"),
        (usage.gpu_soc_energy_j, "the chip's GPU"),
    )
    if measurement.environment.device_kind == "cpu":
        sources = ((usage.cpu_soc_energy_j, "the processor"),)
    known = ((energy_j / usage.images, what) for energy_j, what in sources if energy_j is not None)
    return next(known, None)


def judge_energy(measurement: Measurement, max_energy_j: float | None) -> Finding | None:
    """Judge the energy of a picture against a limit; unknown energy never passes.

    Args:
        measurement: The measurement of one case; a stage alone delivers no picture.
        max_energy_j: Tolerated joules per picture; ``None`` judges nothing.

    Returns:
        HEAVIER, PASS, or INCONCLUSIVE where the energy is unknown; ``None`` without a limit.
    """
    if max_energy_j is None or measurement.kind == "stage":
        return None
    energy = read_energy_per_image_j(measurement)
    if energy is None:
        return Finding(
            Outcome.INCONCLUSIVE,
            ENERGY,
            f"the energy of a picture is not known; limit {max_energy_j:g} J",
            f"sdperf doctor says which sensors there are; watch: pytest without {UNWATCHED}",
        )
    energy_j, what = energy
    seen = f"a picture takes {energy_j:.3g} J of {what}, limit {max_energy_j:g} J"
    return Finding(Outcome.HEAVIER if energy_j > max_energy_j else Outcome.PASS, ENERGY, seen)


def judge_cores(measurement: Measurement, min_cores: float | None) -> Finding | None:
    """Judge whether a case keeps enough cores busy.

    Args:
        measurement: The measurement of one case; stages alone are not judged.
        min_cores: Least processor seconds per second; ``None`` judges nothing.

    Returns:
        SLOWER (cores were idle that could have saved time), PASS, or INCONCLUSIVE where the number
        is unknown; ``None`` without a limit.
    """
    if min_cores is None or measurement.kind == "stage":
        return None
    busy = measurement.cores_busy
    if busy is None:
        reason = f"how many cores were busy is not known; at least {min_cores:g} are asked for"
        return Finding(Outcome.INCONCLUSIVE, CORES, reason)
    seen = f"{busy:.2f} cores busy, at least {min_cores:g} are asked for"
    step = f"look at pytest {THREADS}, and at what runs on one thread"
    if busy < min_cores:
        return Finding(Outcome.SLOWER, CORES, seen, step)
    return Finding(Outcome.PASS, CORES, seen)
