"""The quality suite in pytest: the `sd_quality` fixture.

`docs/image-gates.md` says what each gate sees, where its floor comes from, and what it cannot see.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import pytest

from sdperf.errors import ConfigurationError
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
from sdperf.workload import Precision, Variant

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
    """

    session: SdSession
    node_id: str
    precision: Precision

    def soundness(self) -> Soundness:
        """L0: are the latents finite, and is every image of the right shape and not flat?"""
        return self._ask("soundness", lambda bench: bench.observe_soundness(self.precision))

    def repeatability(self) -> Repeats:
        """L1: is the same seed the same image, in the same process and in a fresh one?"""
        return self._ask("repeatability", lambda bench: bench.observe_repeats(self.precision))

    def components(self) -> ComponentParity:
        """L2: does each component agree with fp32 on the inputs that it had there?"""
        return self._ask("components", lambda bench: bench.observe_components(self.precision))

    def trajectory(self) -> TrajectoryParity:
        """L3: at which step do the latents part from fp32's?"""
        return self._ask("trajectory", lambda bench: bench.observe_trajectory(self.precision))

    def images(self) -> ImageParity:
        """L4: do the images look as their references do, each alone and all together?"""
        return self._ask("images", lambda bench: bench.observe_images(self.precision))

    def batch(self) -> ImageParity:
        """Is image k of a batch the image that its noise gives alone?"""
        return self._ask("batch", lambda bench: bench.observe_batch(self.precision))

    def _ask(self, what: str, observe: Callable[[QualityBench], Seen]) -> Seen:
        from sdperf.judging.quality import judge_observation

        skip_reason = self.session.reason_to_skip(Variant(precision=self.precision))
        if skip_reason is not None:
            pytest.skip(skip_reason)
        line, summary = self.session.live_line, "failed"
        line.start(f"quality {what} {self.precision}", 0)
        try:
            with self.session.ledger.spend("quality"):
                seen = observe(self._bench())
            floors, entropies = self._floors()
            findings = tuple(judge_observation(seen, self.precision, floors, entropies))
            summary = Verdict(self.node_id, findings).outcome.value
        finally:
            line.finish(summary)
        result = QualityResult(seen, self.precision, findings)
        self.session.quality.results[self.node_id] = result
        return seen

    def _bench(self) -> QualityBench:
        from sdperf.run.quality import FEWEST_IMAGES, QualityBench

        shelf = self.session.quality
        if shelf.bench is None:
            count = max(FEWEST_IMAGES, self.session.settings.images)
            shelf.bench = QualityBench(self.session.suite(), count)
        return shelf.bench

    def _floors(self) -> tuple[Floors | None, Mapping[str, float]]:
        references = self.session.suite().shipped
        if references is None:
            return None, {}
        return references.listed.floors.get(self.precision), references.entropies()


@pytest.fixture
def sd_quality(request: pytest.FixtureRequest, sd_precision: Precision) -> SdQuality:
    """Ask a question about the images: ``sd_quality.soundness()``, ``.images()``, ..."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        raise ConfigurationError(
            "the quality suite cannot run under xdist: its cases share their images",
            hint="leave -n out",
        )
    return SdQuality(session_of(request.config), request.node.nodeid, sd_precision)
