"""MagCache: the ratios that it needs, from one picture of each workload."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from sdperf.errors import ConfigurationError
from sdperf.record.workload import Workload


class MagnitudeRatios:
    """Ratios of each step's change to that of the step before, which decide what is left out.

    They belong to a checkpoint, its scheduler and its number of steps. diffusers prints them after
    a picture that is computed in full.

    Args:
        configuration: A `diffusers.MagCacheConfig`, shared with the hooks that read it.

    Source: Ma et al., MagCache (NeurIPS 2025).
    """

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration
        self.is_missing = True
        self._workload: Workload | None = None
        self._taken: dict[Workload, list[float]] = {}

    def begin_picture(self, steps: int) -> None:
        """Let the hooks count a picture's steps."""
        self._configuration.num_inference_steps = steps

    def begin_workload(self, workload: Workload) -> None:
        """Use a workload's ratios, or ask for them where none were taken.

        A worker that comes back to a workload draws no further picture for them, which would be in
        the time of the next one.
        """
        self._workload = workload
        taken = self._taken.get(workload)
        self.is_missing = self._configuration.calibrate = taken is None
        if taken is not None:
            self._configuration.mag_ratios = taken

    def take(self, draw: Callable[[], object]) -> None:
        """Take the ratios from one picture.

        Args:
            draw: Draws it.

        Raises:
            ConfigurationError: diffusers shows no ratios.
        """
        self.is_missing = False  # the picture that is drawn asks for none
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                draw()
            ratios = self._configuration.mag_ratios = read_ratios(printed.getvalue())
        except BaseException:
            self.is_missing = True
            raise
        self._configuration.calibrate = False
        if self._workload is not None:
            self._taken[self._workload] = ratios


def read_ratios(printed: str) -> list[float]:
    r"""Read the ratios that diffusers prints, one line for each side of guidance. Pure.

    Returns:
        Their mean over the sides, one for each step: both sides leave out the same steps.

    Raises:
        ConfigurationError: There are none, or they are no numbers.

    >>> read_ratios("Copy these:\n[1.0, 0.5]\n\nCopy these:\n[1.0, 1.0]\n")
    [1.0, 0.75]
    """
    sides: list[Sequence[float]] = []
    for line in printed.splitlines():
        if line.startswith("[") and line.endswith("]"):
            with contextlib.suppress(json.JSONDecodeError):
                sides.append(json.loads(line))
    lengths = {len(side) for side in sides}
    if len(lengths) != 1 or not all(math.isfinite(one) for side in sides for one in side):
        raise ConfigurationError(
            "mag_cache found no ratios in a picture that was computed in full",
            got=printed.strip()[:200] or "nothing",
            expected="a finite number for each step",
            hint="leave mag_cache out",
        )
    return [sum(step) / len(sides) for step in zip(*sides, strict=True)]
