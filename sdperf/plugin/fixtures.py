"""What the fixture ``sd_benchmark`` gives a test: it measures one case."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sdperf.errors import ConfigurationError, UnfitError
from sdperf.measurement import (
    SEPARATE_STAGES,
    CaseKind,
    Measurement,
    SeparateStage,
    format_measurement,
)
from sdperf.plugin.conversions import conversions_shown
from sdperf.plugin.session import SdSession, session_of
from sdperf.units import format_seconds
from sdperf.workload import Variant

if TYPE_CHECKING:
    from sdperf.run.case import Case, CaseResult
    from sdperf.run.gain import GainCase
    from sdperf.run.suite import Suite


@dataclass
class SdBenchmark:
    """Measures one case and leaves its record in ``benchmark.extra_info["sdperf"]``.

    Attributes:
        session: The sdperf session.
        benchmark: pytest-benchmark's fixture, which reads the virtual clock.
        node_id: Id of the test.
        variant: The cell of the matrix.
        is_used: Whether it has measured its case.
    """

    session: SdSession
    benchmark: Any
    node_id: str
    variant: Variant
    is_used: bool = False

    def latency(self) -> Measurement:
        """Measure one image per worker, all workers at once.

        Returns:
            The measurement; the gates judge it when the session ends.
        """
        return self._measure("latency", 1, self.session.settings.rounds)

    def throughput(self) -> Measurement:
        """Measure a batch of prompts, divided among the workers.

        Returns:
            The measurement; the gates judge it when the session ends.
        """
        settings = self.session.settings
        return self._measure("throughput", settings.images, settings.batch_rounds)

    def stage(self, name: SeparateStage) -> Measurement:
        """Measure one stage of one image alone, on fixed inputs.

        Mark the test ``@pytest.mark.sd_matrix("precision")``: stages run without overlap, so mode
        and workers make no difference to them.

        Args:
            name: ``encode_prompt`` (tokenising included), ``denoise`` (all steps),
                ``decode_latents`` or ``deliver``.

        Returns:
            The measurement; a round is the stage's seconds of one image. The stages after it run
            untimed where its result changed, so that the gates judge the image.

        Raises:
            ConfigurationError: There is no such stage.
        """
        if name not in SEPARATE_STAGES:
            raise ConfigurationError(
                "there is no such stage", got=name, expected=", ".join(SEPARATE_STAGES)
            )
        return self._measure("stage", 1, self.session.settings.batch_rounds, name)

    def _measure(
        self, kind: CaseKind, batch: int, rounds: int, stage: SeparateStage | None = None
    ) -> Measurement:
        session, clock = self.session, self.session.clock
        if self.is_used:
            raise ConfigurationError(
                "a test measures one case, and this one has measured one already",
                got=kind if stage is None else f"stage {stage}",
                hint="write a test of its own for it",
            )
        self.is_used = True
        skip_reason = session.reason_to_skip(self.variant)
        if skip_reason is not None:
            pytest.skip(skip_reason)
        warmup = 0 if self.benchmark.disabled else session.settings.warmup
        rounds = 1 if self.benchmark.disabled else rounds
        in_all = rounds if self.benchmark.disabled else rounds * session.settings.processes
        kept = self._find_kept(kind, stage, in_all)
        if kept is not None:
            return self._take_over(kept)
        case = self._make_case(kind, batch, stage, in_all)
        line = session.live_line
        line.start(f"{stage or kind} {self.variant.id}", warmup + in_all)
        summary = "failed"
        made = 0

        def run() -> None:
            nonlocal made
            timed = made - warmup
            if timed > 0 and timed % rounds == 0:
                line.say("starting a fresh process")
                case.renew(warmup)
            seconds = case.warm_up() if made < warmup else case.measure_round()
            made += 1
            line.round_done(seconds)
            clock.show(seconds)

        try:
            line.say("loading, first call")
            session.start_ahead(self.node_id)
            with (
                session.skipping_chosen_engine(self.variant.engine),
                conversions_shown(self.variant.engine, line.announce),
            ):
                case.prepare()
            if case.reason_to_skip is not None:
                pytest.skip(case.reason_to_skip)
            self.benchmark.group = self.benchmark.group or kind
            self.benchmark.pedantic(run, setup=clock.reset, rounds=in_all, warmup_rounds=warmup)
            line.say("watching and profiling rounds, scoring the images")
            with session.ledger.spend("comparing"):
                result = case.collect()
            if session.settings.trace is not None and not session.traced:
                line.say("tracing an image")
                session.suite().trace(self.variant, session.settings.trace)
                session.traced = True
            self.benchmark.extra_info["sdperf"] = format_measurement(result.measurement)
            session.keep(self.node_id, result)
            per_image = format_seconds(result.measurement.seconds_per_image)
            gain = result.measurement.gain
            beside = (
                "" if gain is None else f", {gain.ratio:.2f} times as fast as the plain pipeline"
            )
            summary = f"{per_image} per image{beside}, {in_all} rounds"
        except UnfitError:
            session.unfit.add(self.node_id)
            raise
        finally:
            line.finish(summary)
            # A case that ends before its first round says so itself: pytest-benchmark's warning of
            # a fixture that was not used would be a second error under filterwarnings = error.
            self.benchmark._mode = self.benchmark._mode or "sdperf"
        self._note_order(case, is_one_process=in_all == rounds)
        return session.results[self.node_id].measurement

    def _note_order(self, case: Case | GainCase, *, is_one_process: bool) -> None:
        """Let the first case of a pipeline be measured again at the end, where that says anything.

        Fresh processes forget what came before them; both sides of a gain take turns anyway.
        """
        from sdperf.run.case import Case

        if isinstance(case, Case) and is_one_process and not self.benchmark.disabled:
            self.session.order.note(self.session, self.node_id, case)

    def _find_kept(
        self, kind: CaseKind, stage: SeparateStage | None, rounds: int
    ) -> CaseResult | None:
        """Return what an earlier process of this session measured of the case, if it counts."""
        from sdperf.plugin.journalling import ExpectedCase

        journal = self.session.journal
        if journal is None:
            return None
        expected = ExpectedCase(kind, self.variant, stage, rounds)
        return journal.find_timed(self.session, self.node_id, expected)

    def _take_over(self, kept: CaseResult) -> Measurement:
        """Show pytest-benchmark the rounds that an earlier process of this session measured."""
        session, measurement = self.session, kept.measurement
        rounds_s = iter(measurement.rounds_s)
        line = session.live_line
        line.start(f"{measurement.stage or measurement.kind} {self.variant.id}", 0)
        self.benchmark.group = self.benchmark.group or measurement.kind
        self.benchmark.pedantic(
            lambda: session.clock.show(next(rounds_s)),
            setup=session.clock.reset,
            rounds=len(measurement.rounds_s),
        )
        line.finish(f"kept: {format_seconds(measurement.seconds_per_image)} per image")
        self.benchmark.extra_info["sdperf"] = format_measurement(measurement)
        session.keep(self.node_id, kept)
        return measurement

    @property
    def _is_watched(self) -> bool:
        return not (self.benchmark.disabled or self.session.settings.unwatched)

    def _make_case(
        self, kind: CaseKind, batch: int, stage: SeparateStage | None, redo_budget: int
    ) -> Case | GainCase:
        return self._make_own_case(self.session.suite(), kind, batch, stage, redo_budget)

    def _make_own_case(
        self, suite: Suite, kind: CaseKind, batch: int, stage: SeparateStage | None, budget: int
    ) -> Case:
        from sdperf.run.case import Case

        return Case(
            suite,
            kind,
            self.variant,
            batch,
            stage=stage,
            redo_budget=budget,
            watched=self._is_watched,
        )


def make_benchmark(request: pytest.FixtureRequest, benchmark: Any, variant: Variant) -> SdBenchmark:
    """Make what measures one case of a test.

    Raises:
        ConfigurationError: The session runs under xdist.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        raise ConfigurationError(
            "benchmarks cannot run under xdist: cases that run at once disturb each other",
            hint="leave -n out; sdperf has workers of its own (--sd-workers)",
        )
    return SdBenchmark(session_of(request.config), benchmark, request.node.nodeid, variant)
