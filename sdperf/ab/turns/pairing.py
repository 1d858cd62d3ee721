"""Two arms on one machine: which may be loaded together, and which side an error belongs to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdperf.ab.sides.revisions import explain_missing_subject
from sdperf.ab.sides.sides import SideError, SideName
from sdperf.ab.turns.arms import LiveArm
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.verdict.comparison import LifeStart
from sdperf.device import DeviceInfo
from sdperf.errors import SdperfError
from sdperf.record.measurement import FreshRounds, MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.record.usage import ResourceUsage
from sdperf.record.workload import ImageRequest, ProgramFacts
from sdperf.run.messages import DeliveredImage


@dataclass
class BlamedArm:
    """An arm whose errors name their side.

    Attributes:
        arm: The arm.
        name: Its side.
        label: The side's label.
        is_eager: Whether fresh processes are loaded at once, so that both sides are warm when a
            block begins; false where the sides alternate.
        is_revision: Whether its code is a commit's and not the working tree's.
    """

    arm: LiveArm
    name: SideName
    label: str
    is_eager: bool = True
    is_revision: bool = False

    @property
    def lives(self) -> tuple[MemoryUsage, ...]:
        """See `LiveArm`."""
        return self.arm.lives

    @property
    def starts(self) -> Sequence[LifeStart]:
        """See `LiveArm`."""
        return self.arm.starts

    @property
    def own_s(self) -> Sequence[float]:
        """As in `LiveArm`."""
        return self.arm.own_s

    @property
    def drawn(self) -> Mapping[ImageRequest, frozenset[str]]:
        """See `LiveArm`."""
        return self.arm.drawn

    def load(self) -> None:
        """See `LiveArm`."""
        with self._blamed():
            self.arm.load()

    def renew(self) -> None:
        """See `LiveArm`."""
        with self._blamed():
            self.arm.renew()
            if self.is_eager:
                self.arm.load()

    def measure_s(self) -> float:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.measure_s()

    def draw(self) -> list[tuple[ImageRequest, DeliveredImage]]:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.draw()

    def draw_fresh(self, known_s: float) -> FreshRounds | None:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.draw_fresh(known_s)

    def profile(self) -> StageTimes | None:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.profile()

    def watch(self) -> ResourceUsage:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.watch()

    def list_modules(self) -> dict[str, str]:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.list_modules()

    def locate_subject(self) -> str | None:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.locate_subject()

    def describe_device(self) -> DeviceInfo:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.describe_device()

    def describe_program(self) -> ProgramFacts | None:
        """See `LiveArm`."""
        with self._blamed():
            return self.arm.describe_program()

    def close(self) -> None:
        """See `LiveArm`."""
        self.arm.close()

    @contextlib.contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except SideError:
            raise
        except SdperfError as error:
            cause = explain_missing_subject(error, self.label) if self.is_revision else error
            raise SideError(self.name, self.label, cause) from error


class Pairing:
    """The arms of one case. Both stay loaded where they fit, else each load ends the other.

    Args:
        a: The reference side.
        b: The side that is judged.
        bench: Knows what fits into the memory.
    """

    def __init__(self, a: BlamedArm, b: BlamedArm, bench: LiveBench) -> None:
        self.a, self.b = a, b
        self.alternates = False
        self._bench = bench
        self._third: BlamedArm | None = None

    def make_room(self) -> None:
        """Decide before B is first loaded whether both fit: a second A would have to fit."""
        if not self._fits(self.a, self.a):
            self._alternate(self.a, self.b)

    def settle(self) -> None:
        """Decide again, now that the memory of both sides is known."""
        if not self.alternates and not self._fits(self.a, self.b):
            self._alternate(self.a, self.b)

    def admit(self, third: BlamedArm) -> None:
        """Make room for a second A; B is ended where three do not fit."""
        self._third = third
        if self.alternates:
            self._alternate(self.a, self.b, third)
        elif not self._fits(self.a, self.a, self.b):
            self.b.close()

    def dismiss(self) -> None:
        """End the second A."""
        if self._third is not None:
            self._third.close()
            self._third = None
        if self.alternates:
            self._alternate(self.a, self.b)

    def close(self) -> None:
        """End all workers."""
        self.dismiss()
        self.a.close()
        self.b.close()

    def _fits(self, *arms: BlamedArm) -> bool:
        device = arms[0].describe_device()
        return self._bench.fit([arm.lives[-1] for arm in arms if arm.lives], device)

    def _alternate(self, *arms: BlamedArm) -> None:
        self.alternates = True
        for arm in arms:
            others = [other for other in arms if other is not arm]
            arm.is_eager = False
            arm.arm.before_load(functools.partial(_close_all, others))


def _close_all(arms: Sequence[BlamedArm]) -> None:
    for arm in arms:
        arm.close()
