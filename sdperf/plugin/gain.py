"""Gains in pytest: the `sd_gain` fixture measures a case and the plain pipeline in turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sdperf.errors import ConfigurationError
from sdperf.measurement import CaseKind, Measurement, SeparateStage
from sdperf.plugin.fixtures import SdBenchmark, make_benchmark
from sdperf.workload import TORCH, Precision, Variant

if TYPE_CHECKING:
    from sdperf.run.gain import GainCase
    from sdperf.run.suite import Suite


@dataclass
class SdGain:
    """Measures how many times faster than plain diffusers a variant is.

    Attributes:
        benchmark: Measures one case.
    """

    benchmark: SdBenchmark

    def latency(self, *, against: Precision | None = None) -> Measurement:
        """Measure one image per worker, in turns with the plain pipeline.

        Args:
            against: Precision of the plain pipeline; the case's own by default.

        Returns:
            The measurement, with its gain; the gates judge its images when the session ends.
        """
        return self._measure(lambda paired: paired.latency(), against)

    def throughput(self, *, against: Precision | None = None) -> Measurement:
        """Measure a batch of prompts, in turns with the plain loop over the same prompts.

        Skipped unless ``--sd-optimisations`` asks for it: a round takes a batch on both sides.

        Args:
            against: As for `latency`.

        Returns:
            As for `latency`.
        """
        if self.benchmark.session.settings.optimisations is None:
            pytest.skip("measured where --sd-optimisations names something")
        return self._measure(lambda paired: paired.throughput(), against)

    def _measure(
        self, measure: Callable[[SdBenchmark], Measurement], against: Precision | None
    ) -> Measurement:
        """Measure; what is on by default and unasked is skipped on a pipeline it does not suit."""
        try:
            return measure(self._with(against))
        except ConfigurationError as error:
            is_asked = self.benchmark.session.settings.optimisations is not None
            if is_asked or self.benchmark.variant.engine != TORCH:
                raise
            pytest.skip(f"what is on by default does not suit this pipeline: {error}")

    def _with(self, against: Precision | None) -> SdBenchmark:
        return _PairedBenchmark(
            **{
                each.name: getattr(self.benchmark, each.name)
                for each in dataclasses.fields(SdBenchmark)
            },
            against=against or self.benchmark.variant.precision,
        )


@dataclass
class _PairedBenchmark(SdBenchmark):
    """A benchmark whose rounds have a partner on the plain pipeline.

    Attributes:
        against: Precision of the plain pipeline.
    """

    against: Precision = "fp32"

    def _make_case(
        self, kind: CaseKind, batch: int, stage: SeparateStage | None, redo_budget: int
    ) -> GainCase:
        from sdperf.run.case import Case
        from sdperf.run.gain import GainCase

        plain = Case(
            self.session.plain_suite(),
            kind,
            Variant(precision=self.against),
            batch,
            stage=stage,
            redo_budget=0,
            watched=False,
        )
        own: Suite = self.session.suite().with_changes(compares_with_fp32=False)
        return GainCase(self._make_own_case(own, kind, batch, stage, redo_budget), plain)


def make_gain(request: pytest.FixtureRequest, benchmark: Any, variant: Variant) -> SdGain:
    """Make what measures the gain of one test.

    Raises:
        ConfigurationError: The session has one process only.
    """
    made = make_benchmark(request, benchmark, variant)
    if made.session.settings.in_process:
        raise ConfigurationError(
            "a gain needs two processes, one for each side",
            got="--sd-in-process",
            hint="leave --sd-in-process out, or deselect the gains: -k 'not gain'",
        )
    return SdGain(made)
