"""One sitting on a question: comparisons of its steps, the first of them with the null control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import AbComparison, Compared, CompareOptions
from sdperf.ab.verdict.judging import AbVerdict, judge_comparison


class Tester(Protocol):
    """What measures a step."""

    def compare(
        self, base: str, step: str, cases: Sequence[MatrixCase], options: CompareOptions
    ) -> Compared:
        """Measure a step (B) against another (A).

        Raises:
            SideError: A side cannot be measured.
            PackageError: A step's packages cannot be installed.
        """


class SittingInterruptedError(Exception):
    """The user ended a comparison; what it measured so far is not kept."""


class SittingVoidError(Exception):
    """The same code differed from itself."""


@dataclass
class Sitting:
    """Measures comparisons one after another, and knows whether the machine was tried.

    Attributes:
        tester: Measures.
        judge: Says what a comparison means.
        is_controlled: Whether this sitting has compared the same code with itself.
    """

    tester: Tester
    judge: Callable[[AbComparison], AbVerdict] = judge_comparison
    is_controlled: bool = False

    def measure(
        self, base: str, step: str, cases: Sequence[MatrixCase], options: CompareOptions
    ) -> tuple[Compared, AbVerdict]:
        """Measure a step (B) against another (A), and judge it.

        Raises:
            SideError: A side cannot be measured.
            PackageError: A step's packages cannot be installed.
            SittingInterruptedError: The user ended it.
            SittingVoidError: The null control failed.
        """
        compared = self.tester.compare(base, step, cases, options)
        if compared.record.was_interrupted:
            raise SittingInterruptedError
        verdict = self.judge(compared.record)
        if verdict.void is not None:
            raise SittingVoidError(verdict.void)
        self.is_controlled = self.is_controlled or options.null_control
        return compared, verdict
