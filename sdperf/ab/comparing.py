"""Two sides measured against each other until they decide: the engine of ``sdperf ab``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdperf.ab.comparison import Compared, CompareOptions
from sdperf.ab.sides import MatrixCase, Side

if TYPE_CHECKING:
    from sdperf.ab.bench import Bench
    from sdperf.ab.view import View


def compare(
    a: Side,
    b: Side,
    cases: Sequence[MatrixCase] = (MatrixCase(),),
    options: CompareOptions | None = None,
    *,
    bench: Bench | None = None,
    view: View | None = None,
) -> Compared:
    """Measure two sides against each other, case by case.

    Args:
        a: The reference.
        b: What is judged.
        cases: What to measure; they share the error.
        options: How.
        bench: Makes arms and knows the machine; ``None`` is this machine. A bench can serve many
            comparisons.
        view: Shows how it goes; ``None`` is silent.

    Returns:
        Everything measured, for `sdperf.ab.judging.judge_comparison`. An interrupt (Ctrl-C)
        returns what there is, with ``record.was_interrupted``.

    Raises:
        SideError: A side cannot be loaded or run, or died; the other side is well.
        ConfigurationError: Nothing of a revision takes part, so that both sides are the same.
        UnfitError: The policy is strict and the machine is not fit.
    """
    raise NotImplementedError
