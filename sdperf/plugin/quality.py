"""The quality suite in pytest: the `sd_quality` fixture.

`docs/image-gates.md` says what each gate sees, where its floor comes from, and what it cannot see.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import pytest

from sdperf.engines.catalogue import ENGINES
from sdperf.errors import ConfigurationError
from sdperf.judging.floors import loosen_for
from sdperf.observation import (
    ComponentParity,
    ImageParity,
    Observation,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.plugin.quality_results import QualityResult
from sdperf.plugin.session import SdSession, session_of
from sdperf.verdict import Verdict
from sdperf.workload import TORCH, Precision, Variant

if TYPE_CHECKING:
    from sdperf.models.references import Floors
    from sdperf.run.quality import QualityBench

Seen = TypeVar("Seen", bound=Observation)


@dataclass
class SdQuality:
    """Asks one question about the images of one precision; the gates answer when asked.

    Attributes:
        session: The sdperf session.
        node_id: Id of the test.
        precision: Of the pipeline under test.
        engine: What runs its networks.
    """

    session: SdSession
    node_id: str
    precision: Precision
    engine: str = TORCH

    def soundness(self) -> Soundness:
        """L0: are the latents finite, and is every image of the right shape and not flat?"""
        return self._ask("soundness", lambda bench: bench.observe_soundness(self.precision))

    def repeatability(self) -> Repeats:
        """L1: is the same seed the same image, in the same process and in a fresh one?"""
        return self._ask("repeatability", lambda bench: bench.observe_repeats(self.precision))

    def components(self) -> ComponentParity:
        """L2: does each component agree with fp32 on the inputs that it had there?"""
        self._skip_fewer_bits()
        return self._ask("components", lambda bench: bench.observe_components(self.precision))

    def trajectory(self) -> TrajectoryParity:
        """L3: at which step do the latents part from fp32's?"""
        self._skip_fewer_bits()
        return self._ask("trajectory", lambda bench: bench.observe_trajectory(self.precision))

    def images(self) -> ImageParity:
        """L4: do the images look as their references do, each alone and all together?"""
        return self._ask("images", lambda bench: bench.observe_images(self.precision))

    def batch(self) -> ImageParity:
        """Is image k of a batch the image that its noise gives alone?"""
        return self._ask("batch", lambda bench: bench.observe_batch(self.precision))

    def _ask(self, what: str, observe: Callable[[QualityBench], Seen]) -> Seen:
        from sdperf.judging.quality import judge_observation

        variant = Variant(precision=self.precision, engine=self.engine)
        skip_reason = self.session.reason_to_skip(variant)
        if skip_reason is not None:
            pytest.skip(skip_reason)
        line, summary = self.session.live_line, "failed"
        engine = "" if self.engine == TORCH else f" {self.engine}"
        line.start(f"quality {what} {self.precision}{engine}", 0)
        journal = self.session.journal
        try:
            kept = (
                None
                if journal is None
                else journal.find_quality(self.session, self.node_id, self.precision)
            )
            if kept is not None:
                seen = cast("Seen", kept[0])
                self.session.quality.pngs.update(kept[1])
            else:
                self.session.start_ahead(self.node_id)
                with (
                    self.session.skipping_chosen_engine(self.engine),
                    self.session.ledger.spend("quality"),
                ):
                    seen = observe(self._bench())
            floors, entropies = self._floors()
            findings = tuple(judge_observation(seen, self.precision, floors, entropies))
            result = QualityResult(seen, self.precision, findings)
            self.session.quality.results[self.node_id] = result
            if journal is not None and kept is None:
                journal.add_quality(self.session, self.node_id, result)
            summary = Verdict(self.node_id, findings).outcome.value
        finally:
            line.finish(summary)
        return seen

    def _bench(self) -> QualityBench:
        from sdperf.run.quality import FEWEST_IMAGES, QualityBench

        shelf = self.session.quality
        if self.engine not in shelf.benches:
            count = max(FEWEST_IMAGES, self.session.settings.images)
            suite = self.session.suite()
            shelf.benches[self.engine] = QualityBench(suite, count, self.engine, shelf.pngs)
        return shelf.benches[self.engine]

    def _skip_fewer_bits(self) -> None:
        if ENGINES[self.engine].fewer_bits:
            pytest.skip(
                f"the engine {self.engine} stores weights in fewer bits: its images are held to "
                "floors, its components are not"
            )

    def _floors(self) -> tuple[Floors | None, Mapping[str, float]]:
        references = self.session.suite().shipped
        if references is None:
            return None, {}
        floors = references.listed.floors.get(self.precision)
        if floors is not None and self.engine != TORCH:  # torch's own noise is no measure of others
            loosened = loosen_for(Variant(self.precision, engine=self.engine), floors)
            floors = dataclasses.replace(loosened, components={}, trajectory_rms=None)
        return floors, references.entropies()


def make_quality(request: pytest.FixtureRequest, precision: Precision, engine: str) -> SdQuality:
    """Make what asks one question about the images.

    Raises:
        ConfigurationError: The session runs under xdist.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        raise ConfigurationError(
            "the quality suite cannot run under xdist: its cases share their images",
            hint="leave -n out",
        )
    return SdQuality(session_of(request.config), request.node.nodeid, precision, engine)
