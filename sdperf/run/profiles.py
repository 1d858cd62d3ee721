"""Measures once per pipeline, and not for every case, its stages and the device's limits."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sdperf.errors import GenerationError
from sdperf.pipeline.optimisations.catalogue import is_recorded
from sdperf.record.stages import DeviceLimits, StageCost, StageTimes
from sdperf.record.workload import TORCH, Precision, Variant
from sdperf.run.fresh import make_fresh_request
from sdperf.run.messages import DeviceSpeed, RoundRequest
from sdperf.run.pool import WorkerPool
from sdperf.run.share import compute_limits

if TYPE_CHECKING:
    from sdperf.run.suite import Suite

_log = logging.getLogger(__name__)

_COUNTED_STAGES: Final = ("encode_prompt", "encode_image", "denoise", "decode_latents", "whole")
"""Stages that always need operations of a network."""

_Key = tuple[Precision, int, tuple[str, ...], str]
"""The key of a profile: precision, threads, optimisations and engine."""


@dataclass
class SessionProfiles:
    """Stage times, device limits and memory of the pipelines of one session.

    Attributes:
        peaks: The most bytes that one worker of a pipeline took, by `Variant.pipeline`.
    """

    peaks: dict[tuple[str, str, tuple[str, ...]], int] = field(default_factory=dict)
    _stages: dict[_Key, StageTimes | None] = field(default_factory=dict)
    _limits: dict[_Key, DeviceLimits | None] = field(default_factory=dict)
    _speeds: dict[tuple[Precision, int], DeviceSpeed] = field(default_factory=dict)

    def profile(self, suite: Suite, variant: Variant) -> StageTimes | None:
        """Return stage times of one image of this precision and thread count, measured once.

        It is a separate round, since the timed rounds have no instruments. A worker of the
        variant's precision has to be running. ``None`` where the pipeline cannot be profiled.
        """
        threads = suite.threads_for(variant)
        key = (variant.precision, threads, variant.optimisations, variant.engine)
        if key not in self._stages:
            request = suite.request((suite.workload.image(0),), "sync", threads)
            try:
                self._stages[key] = suite.pool.profile(request)
            except GenerationError as error:
                _log.warning("no stage times: %s", error)
                self._stages[key] = None
        return self._stages[key]

    def limits(self, suite: Suite, variant: Variant) -> DeviceLimits | None:
        """Return the stages with the device's limits, for this precision and thread count.

        They are counted and measured once, in separate rounds, on a running worker. ``None`` where
        the pipeline cannot be counted, and for engines whose operators torch does not see.
        """
        if variant.engine != TORCH:
            return None
        threads = suite.threads_for(variant)
        key = (variant.precision, threads, variant.optimisations, variant.engine)
        if key not in self._limits:
            request = suite.request((suite.workload.image(0),), "sync", threads)
            try:
                costs = _count(suite.pool, request)
                if is_recorded(variant.optimisations):  # the host calls none of them
                    costs = tuple(dataclasses.replace(cost, operators=0) for cost in costs)
                speed = self._speeds.get(key[:2])
                if speed is None:  # the device's limits do not depend on optimisations
                    with suite.pool.ledger.spend("device's peak"):
                        speed = self._speeds[key[:2]] = suite.pool.measure_speed(request)
            except GenerationError as error:
                _log.warning("no share of the peak: %s", error)
                self._limits[key] = None
            else:
                self._limits[key] = compute_limits(
                    self.profile(suite, variant), costs, speed.peak, speed.operator_s
                )
        return self._limits[key]


def _count(pool: WorkerPool, request: RoundRequest) -> tuple[StageCost, ...]:
    """Count a request; where a stage has no operations, also count one that was never made.

    Compiled and foreign networks have no counted operations either, so that only both requests
    together tell whether outputs are cached.
    """
    costs = pool.count(request)
    if all(cost.flop for cost in costs if cost.stage in _COUNTED_STAGES):
        return costs
    images = tuple(make_fresh_request(image) for image in request.images)
    fresh = pool.count(dataclasses.replace(request, images=images))
    flop = {cost.stage: cost.flop for cost in fresh}
    return tuple(dataclasses.replace(cost, fresh_flop=flop.get(cost.stage)) for cost in costs)
