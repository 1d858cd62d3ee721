"""Finds what the tests of a session will need, so that it can be made ahead of need. Pure.

Processes are started together, and references are drawn in one load of each reference pipeline.
This only saves time: what was not foreseen is made when a test needs it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Final

from sdperf.engines.catalogue import ENGINES
from sdperf.record.workload import TORCH, Precision, Variant

MEASURED: Final = frozenset({"latency", "throughput", "stage", "soak"})
"""The questions that a test can ask of ``sd_benchmark`` and ``sd_gain``."""

SOAKED: Final = frozenset({"soak"})
"""The question of a soak, which takes the requested time."""

INSPECTED: Final = frozenset({"components", "trajectory"})
"""Questions of the quality suite that need a recording of the reference."""

DRAWN: Final = frozenset({"soundness", "repeatability", "images", "batch"})
"""Questions of the quality suite that need the reference's pictures."""

FRESH: Final = "repeatability"
"""The question that needs a fresh process."""

_ANYTHING: Final = MEASURED | INSPECTED | DRAWN


def find_asked(code: CodeType | None) -> frozenset[str]:
    """Find the questions that a test may ask from the names in its code; all where it has none.

    A test that asks through a helper counts as asking all questions.

    Args:
        code: Code object of the test's function; ``None`` where there is none.
    """
    named = frozenset() if code is None else frozenset(_list_names(code))
    return named & _ANYTHING or _ANYTHING


def _list_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _list_names(inner)


@dataclass(frozen=True)
class ExpectedWork:
    """The needs of a test.

    Attributes:
        node_id: Id of the test.
        variant: The pipeline that workers load, and how many workers.
        is_timed: Whether it is a benchmark; the quality suite is not.
        has_plain_side: Whether it is measured in turns with the plain pipeline.
        asks: The questions that it may ask; see `find_asked`.
        is_skipped: Whether it is known to be skipped on any machine.
    """

    node_id: str
    variant: Variant
    is_timed: bool = True
    has_plain_side: bool = False
    asks: frozenset[str] = _ANYTHING
    is_skipped: bool = False

    @property
    def pipeline(self) -> tuple[object, ...]:
        """The pipeline that one worker loads; tests with equal pipelines share workers."""
        return self.variant.pipeline

    def is_plain(self, reference: Precision = "fp32") -> bool:
        """Tell whether its pipeline is the plain one that others are compared with.

        Args:
            reference: Precision of the reference.
        """
        return self.pipeline == (reference, TORCH, ())

    def wants_recording(self) -> bool:
        """Tell whether it may need a recording of its reference."""
        if self.is_timed or self.variant.is_external or ENGINES[self.variant.engine].fewer_bits:
            return False
        return bool(self.asks & INSPECTED)

    def count_pictures(
        self, images: int, quality_images: int, reference: Precision = "fp32"
    ) -> int:
        """Count the reference's pictures that it is compared with, from the workload's first one.

        Args:
            images: Pictures of a throughput case.
            quality_images: Pictures of the quality suite.
            reference: Precision of the plain pipeline that others are compared with.
        """
        if self.is_plain(reference) or self.has_plain_side or self.variant.is_external:
            return 0
        if self.is_timed:
            return images if "throughput" in self.asks else 1
        return quality_images if self.asks & DRAWN else 0


@dataclass(frozen=True)
class Plan:
    """All tests in order; tests with equal pipelines are together.

    Attributes:
        tests: The needs of each test.
    """

    tests: Sequence[ExpectedWork] = ()

    def is_first_of_its_pipeline(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> bool:
        """Tell whether no earlier test used the pipeline of this one.

        Args:
            node_id: The test.
            is_skipped: Whether a variant will be skipped.
        """
        asking = (one for one in self._find_group(node_id) if not is_skipped(one.variant))
        return next((one.node_id for one in asking), None) == node_id

    def count_now(self, node_id: str, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the tests of this one's pipeline need."""
        return _count(self._find_group(node_id), is_skipped)

    def count_all(self, is_skipped: Callable[[Variant], bool]) -> int:
        """Count the processes that the whole session needs."""
        return sum(_count(group, is_skipped) for group in self._divide())

    def count_pictures(
        self,
        images: int,
        quality_images: int,
        is_skipped: Callable[[Variant], bool],
        reference: Precision = "fp32",
    ) -> int:
        """Count the reference's pictures that the session needs; see `Wanted.count_pictures`."""
        return max(
            (
                one.count_pictures(images, quality_images, reference)
                for one in self._list_run()
                if not is_skipped(one.variant)
            ),
            default=0,
        )

    def list_inspected(
        self, is_skipped: Callable[[Variant], bool]
    ) -> tuple[tuple[Precision, str], ...]:
        """List precision and engine of each pipeline that is compared with a recording."""
        asking = (
            (one.variant.precision, one.variant.engine)
            for one in self._list_run()
            if one.wants_recording() and not is_skipped(one.variant)
        )
        return tuple(dict.fromkeys(asking))

    def list_variants(self, is_skipped: Callable[[Variant], bool]) -> list[Variant]:
        """List a variant of each pipeline that is tested."""
        firsts = (
            next((one.variant for one in group if not is_skipped(one.variant)), None)
            for group in self._divide()
        )
        return [first for first in firsts if first is not None]

    def _find_group(self, node_id: str) -> list[ExpectedWork]:
        """Return the tests of this one's pipeline."""
        holding = (
            group for group in self._divide() if any(one.node_id == node_id for one in group)
        )
        return next(holding, [])

    def _divide(self) -> list[list[ExpectedWork]]:
        """Return the tests of each pipeline."""
        return [
            list(group)
            for _, group in itertools.groupby(self._list_run(), key=lambda one: one.pipeline)
        ]

    def _list_run(self) -> list[ExpectedWork]:
        """Return the tests that are not known to be skipped."""
        return [one for one in self.tests if not one.is_skipped]


def _count(group: Iterable[ExpectedWork], is_skipped: Callable[[Variant], bool]) -> int:
    """Count the processes of one pipeline: its workers, and one for each reason to need another.

    Repeatability needs a fresh process, which a second worker has been. A gain has its plain side.
    """
    asking = [one for one in group if not (one.variant.is_external or is_skipped(one.variant))]
    workers = max((one.variant.workers for one in asking), default=0)
    wants_fresh = workers == 1 and any(not one.is_timed and FRESH in one.asks for one in asking)
    return workers + wants_fresh + any(one.has_plain_side for one in asking)
