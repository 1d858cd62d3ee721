"""Tells a cache which step a pipeline is in, and where a picture begins."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch

from sdperf.errors import ConfigurationError

Sides = Literal["named", "apart", "together"]
"""How a cache treats the two sides of guidance: ``named`` needs the pipeline to name each call,
``apart`` uses names where there are some, ``together`` has one memory for all calls."""


class StepClock:
    """Follows a pipeline by its scheduler, in a hook before each call of the denoiser.

    Attributes:
        timestep: The scheduler's timestep, from 1000 (noise) to 0; infinite outside of a picture.
        calls: Calls of the denoiser so far that ended.
    """

    def __init__(self, pipeline: Any, denoiser: torch.nn.Module, name: str, sides: Sides) -> None:
        """Begin to follow.

        Args:
            pipeline: A `diffusers.DiffusionPipeline`.
            denoiser: Its network.
            name: The optimisation, for messages.
            sides: How its cache treats the two sides of guidance.

        Raises:
            ConfigurationError: The scheduler does not say which step it is in.
        """
        self.timestep = math.inf
        self.calls = 0
        self._pipeline, self._denoiser = pipeline, denoiser
        self._name, self._sides = name, sides
        self.check_scheduler()
        self._begin: Callable[[int], None] = lambda _: None
        self._timesteps: list[float] = []
        self._seen: Any = None
        self._first = 0
        self._side: str | None = None
        self._called: set[tuple[int, str | None]] = set()
        denoiser.register_forward_pre_hook(lambda *_: self._enter())
        denoiser.register_forward_hook(lambda *_: self._leave())
        if hasattr(denoiser, "cache_context"):
            self._follow_names(denoiser)

    def check_scheduler(self) -> None:
        """Refuse a scheduler that the pipeline got and that cannot be followed.

        Raises:
            ConfigurationError: It does not say which step it is in.
        """
        scheduler = self._pipeline.scheduler
        if not hasattr(scheduler, "step_index"):
            raise ConfigurationError(
                f"{self._name} cannot follow {type(scheduler).__name__}, which does not count its "
                "steps",
                expected="a scheduler with a step_index, such as FlowMatchEulerDiscreteScheduler",
                hint=f"leave {self._name} out",
            )

    def read_timestep(self) -> float:
        """Return the timestep of the running call, as diffusers' caches ask for it."""
        return self.timestep

    def on_picture(self, begin: Callable[[int], None]) -> None:
        """Have a function called where a picture begins, with the number of its steps."""
        self._begin = begin

    def _follow_names(self, denoiser: Any) -> None:
        plain = denoiser.cache_context

        @contextlib.contextmanager
        def cache_context(name: str, **more: Any) -> Iterator[None]:
            self._begin_if_new()  # a reset inside of the context would forget its name
            self._side = name
            try:
                with plain(name, **more):
                    yield
            finally:
                self._side = None

        denoiser.cache_context = cache_context

    def _begin_if_new(self) -> None:
        scheduler = self._pipeline.scheduler
        if scheduler.timesteps is self._seen:
            return
        self._seen = scheduler.timesteps  # one tensor for each picture
        self._timesteps = [float(one) for one in self._seen.tolist()]
        self._first = getattr(scheduler, "begin_index", None) or 0
        self._forget()
        self._begin(len(self._timesteps) - self._first)

    def _forget(self) -> None:
        from diffusers.hooks.hooks import HookRegistry

        self._called.clear()
        HookRegistry.check_if_exists_or_initialize(self._denoiser).reset_stateful_hooks()

    def _enter(self) -> None:
        self._begin_if_new()
        index = self._pipeline.scheduler.step_index
        index = self._first if index is None else int(index)
        if index >= len(self._timesteps):  # a call beside a picture, with kept inputs
            if self._side is None:
                self._forget()
            self.timestep = math.inf
            return
        self.timestep = self._timesteps[index]
        side = None if self._sides == "together" else self._side
        if self._sides == "named" and side is None:
            raise self._refuse(
                "does not tell this cache whether a call is the guided one",
                "a pipeline that does, such as QwenImagePipeline or FluxPipeline",
            )
        if (index, side) in self._called:
            raise self._refuse(
                "calls its denoiser twice in a step, whose results this cache would mix up",
                "one call in each step: without guidance, or guided by a batch of both sides",
            )
        self._called.add((index, side))

    def _leave(self) -> None:
        self.calls += 1

    def _refuse(self, reason: str, expected: str) -> ConfigurationError:
        self._seen = None
        return ConfigurationError(
            f"{self._name} cannot be used here: {type(self._pipeline).__name__} {reason}",
            expected=expected,
            hint=f"leave {self._name} out",
        )
