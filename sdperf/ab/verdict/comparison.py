"""All measurements of a comparison: every execution, every image, every note. Frozen values.

Verdicts are not part of it: `sdperf.ab.verdict.judging` makes them from it, always the same.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from sdperf.ab.sides.sides import MatrixCase, SideName
from sdperf.judging.latency import DEFAULT_FAMILY_ERROR, DEFAULT_MAX_SLOWDOWN
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.record.environment import Environment
from sdperf.record.floors import Floors
from sdperf.record.guard import Guard
from sdperf.record.measurement import FreshRounds, GuardPolicy, ImageRecord, MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.record.workload import ProgramFacts, Variant, Workload
from sdperf.stats.paired import DEFAULT_LOOKS, compute_block_contrast

AB_FORMAT_VERSION: Final = 1
"""Version of the stored comparison; raised when a field changes meaning."""


@dataclass(frozen=True)
class CompareOptions:
    """How a comparison is measured and judged.

    Attributes:
        max_slowdown: Tolerated slowdown of a case, as a fraction.
        memory: Tolerated growth of peak memory.
        alpha: Chance that two equal sides are called SLOWER, over all cases and looks together.
        looks: Numbers of blocks after which a decision is tried.
        rounds: Rounds of one execution, whose median counts, four executions a block; ``None``
            takes short executions, and as many as give each side about four seconds of a block.
        warmup: Untimed rounds of each fresh process after its first call.
        budget_s: Seconds after which no further block begins; ``None`` is no limit, and with 0
            nothing is timed.
        timeout_s: Time limit of one generation, seconds.
        guards: The policy for a machine that is not fit, or does not stay fit.
        discards: How many blocks of a case may be measured again because a guard changed.
        null_control: Whether A is first compared with itself; its failure voids the comparison.
        stages: Whether each block is followed by a profiled round of each side.
        b_first: Whether the first block begins with B; ``None`` decides at random.
        min_ssim: Floor of the whole frame between A's and B's images; ``None`` takes the floor
            that the pair has by itself (see `sdperf.ab.verdict.judging`).
        min_tile_ssim: Floor of the worst tile between A's and B's images; ``None`` takes the
            floor that the pair has by itself.
        is_two_sided: Whether blocks go on until a gain beyond the limit is decided as surely as a
            loss.
    """

    max_slowdown: float = DEFAULT_MAX_SLOWDOWN
    memory: MemoryLimits = field(default_factory=MemoryLimits)
    alpha: float = DEFAULT_FAMILY_ERROR
    looks: tuple[int, ...] = DEFAULT_LOOKS
    rounds: int | None = None
    warmup: int = 1
    budget_s: float | None = None
    timeout_s: float = 600.0
    guards: GuardPolicy = "warn"
    discards: int = 6
    null_control: bool = True
    stages: bool = True
    b_first: bool | None = None
    min_ssim: float | None = None
    min_tile_ssim: float | None = None
    is_two_sided: bool = False

    @property
    def is_timed(self) -> bool:
        """Whether there are blocks; pictures, memory and starts are compared without them too."""
        return self.budget_s != 0.0


@dataclass(frozen=True)
class SideTurn:
    """One turn of a side: timed rounds back to back.

    Attributes:
        side: Letter of the side.
        start_s: Its start, seconds of a clock that all executions share.
        rounds_s: Seconds of each round.
    """

    side: SideName
    start_s: float
    rounds_s: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        """Median round, seconds: one sample, however many rounds it has."""
        return statistics.median(self.rounds_s)


@dataclass(frozen=True)
class Block:
    """Executions in mirrored cycles of four.

    Attributes:
        order: ``ABBA``, ``BAAB`` or several of them, such as ``ABBABAAB``.
        executions: The executions in order.
        discarded: Why it does not count; ``None`` where it does.
    """

    order: str
    executions: tuple[SideTurn, ...]
    discarded: str | None = None

    def __post_init__(self) -> None:
        """Refuse a counting block that cannot be judged, such as one of a damaged file.

        Raises:
            ValueError: The order does not fit the executions, or a duration is not positive.
        """
        if self.discarded is None:
            _ = self.contrast

    @cached_property
    def contrast(self) -> float:
        """Log ratio B over A; positive is slower."""
        return compute_block_contrast(self.order, [one.duration_s for one in self.executions])


def list_rounds_s(blocks: Sequence[Block], side: SideName) -> list[float]:
    """List the seconds of all timed rounds of a side, in order."""
    return [
        round_s
        for block in blocks
        for one in block.executions
        if one.side == side
        for round_s in one.rounds_s
    ]


@dataclass(frozen=True)
class ProfiledPair:
    """One profiled round of each side, one right after the other.

    Attributes:
        order: ``AB`` or ``BA``.
        a: Stage times of A.
        b: Stage times of B.
    """

    order: str
    a: StageTimes
    b: StageTimes


@dataclass(frozen=True)
class SideMemory:
    """Peaks of each process life of a side, in order."""

    lives: tuple[MemoryUsage, ...]

    def median(self) -> MemoryUsage:
        """Return the median of each peak over the lives; ``None`` where one is unknown."""

        def of(name: str) -> int | None:
            values = [getattr(life, name) for life in self.lives]
            known = [value for value in values if value is not None]
            return round(statistics.median(known)) if known and len(known) == len(values) else None

        return MemoryUsage(
            peak_rss_bytes=of("peak_rss_bytes"),
            peak_device_bytes=of("peak_device_bytes"),
            peak_device_sampled=any(life.peak_device_sampled for life in self.lives),
        )


@dataclass(frozen=True)
class LifeStart:
    """How one process life of a side began; no round is timed before.

    Attributes:
        load_s: Seconds in which its pipeline was loaded, the slowest worker's. Only the first life
            may find files that are not in memory yet.
        first_call_s: Seconds of its first generation; ``None`` unknown.
    """

    load_s: float
    first_call_s: float | None


@dataclass(frozen=True)
class EnergyPair:
    """Joules per image of watched windows, taken in mirrored order; the scope is the same.

    Attributes:
        scope: ``gpu_board`` or ``gpu_soc``: the part whose energy was measured.
        a_j: Joules per image of each of A's windows.
        b_j: Joules per image of each of B's windows.
    """

    scope: str
    a_j: tuple[float, ...]
    b_j: tuple[float, ...]


@dataclass(frozen=True)
class ImagePair:
    """The same prompt and seed drawn by both sides.

    Attributes:
        a: A's image.
        b: B's image; its score compares it with A's, where both have one size.
    """

    a: ImageRecord
    b: ImageRecord


@dataclass(frozen=True)
class CaseComparison:
    """One case on both sides.

    Attributes:
        case: The case.
        variant_a: How A ran it.
        variant_b: How B ran it.
        alpha: Share of the error that this case may spend.
        blocks: All blocks in order, discarded ones included.
        profiles: Profiled rounds.
        memory_a: A's memory.
        memory_b: B's memory.
        images: One pair per prompt.
        energy: Energy per image; ``None`` where it is not known here.
        floors: The floors of B's images, each beside A's; ``None`` judges no likeness.
        unjudged: Why likeness is not judged; ``None`` where it is.
        notes: Remarks for people on the measurement.
        is_exact: Whether all of A's rounds drew the bytes of its picture, and B is asked for the
            same arithmetic; ``None`` where that is not so or not known.
        fresh_a: A's rounds of requests that were never made before; ``None`` where none was run.
        fresh_b: B's rounds of such requests.
        starts_a: The start of each set of A's processes, in order.
        starts_b: The start of each set of B's processes.
        own_a_s: Seconds of A's timed rounds by the figure of a program of the user's, which begins
            and ends inside of ours; empty where it tells none.
        own_b_s: The same of B's.
    """

    case: MatrixCase
    variant_a: Variant
    variant_b: Variant
    alpha: float
    blocks: tuple[Block, ...] = ()
    profiles: tuple[ProfiledPair, ...] = ()
    memory_a: SideMemory = field(default_factory=lambda: SideMemory(()))
    memory_b: SideMemory = field(default_factory=lambda: SideMemory(()))
    images: tuple[ImagePair, ...] = ()
    energy: EnergyPair | None = None
    floors: Floors | None = None
    unjudged: str | None = None
    notes: tuple[str, ...] = ()
    is_exact: bool | None = None
    fresh_a: FreshRounds | None = None
    fresh_b: FreshRounds | None = None
    starts_a: tuple[LifeStart, ...] = ()
    starts_b: tuple[LifeStart, ...] = ()
    own_a_s: tuple[float, ...] = ()
    own_b_s: tuple[float, ...] = ()

    @property
    def contrasts(self) -> tuple[float, ...]:
        """Log ratios B over A of the blocks that count."""
        return tuple(block.contrast for block in self.blocks if block.discarded is None)


@dataclass(frozen=True)
class SideRecord:
    """The facts of a side.

    Attributes:
        label: Its label, given or automatic.
        python: Version of its interpreter.
        packages: Every distribution its interpreter has, by name.
        workload: What it generated.
        model_hash: Hash of its model's weights and configuration.
        device: The kind of device it ran on.
        subject: ``module:function``; ``None`` without one.
        revision: Commit of its code; ``None`` where it was not a commit.
        modules: Modules that came from the revision's folders, each with the start of its
            file's SHA-256.
        program: An external program's facts about itself; ``None`` where diffusers draws.
    """

    label: str
    python: str
    packages: Mapping[str, str]
    workload: Workload
    model_hash: str
    device: str
    subject: str | None = None
    revision: str | None = None
    modules: Mapping[str, str] = field(default_factory=dict)
    program: ProgramFacts | None = None


@dataclass(frozen=True)
class AbComparison:
    """All results of a comparison.

    Attributes:
        created: Start, UTC, ISO 8601.
        options: How it was made.
        a: The reference side.
        b: The side that is judged.
        environment: The machine, and this process's own packages.
        cases: The cases that were reached, in order.
        b_first: Whether first blocks began with B.
        control: Blocks of A against A, ``B`` being the second A; empty where there was none.
        guards: The machine before the first round.
        notes: Remarks for people on the measurement.
        was_interrupted: Whether the user ended it.
        duration_s: Seconds that it took, including loading.
        format_version: Version of this record.
    """

    created: str
    options: CompareOptions
    a: SideRecord
    b: SideRecord
    environment: Environment
    cases: tuple[CaseComparison, ...]
    b_first: bool
    control: tuple[Block, ...] = ()
    guards: tuple[Guard, ...] = ()
    notes: tuple[str, ...] = ()
    was_interrupted: bool = False
    duration_s: float = 0.0
    format_version: int = AB_FORMAT_VERSION


@dataclass(frozen=True)
class Compared:
    """A comparison with the images it names, by content hash."""

    record: AbComparison
    pngs: Mapping[str, bytes]
