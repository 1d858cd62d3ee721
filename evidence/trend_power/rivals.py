"""Other searches for change points, as people use them. Each returns positions."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable

import numpy as np
import ruptures
from numpy.typing import NDArray

from sdperf.stats.change_points import segment_series

Array = NDArray[np.float64]
Search = Callable[[Array], list[int]]


def search_sdperf(values: Array) -> list[int]:
    return [change.index for change in segment_series(values.tolist()).changes]


def search_pelt(values: Array) -> list[int]:
    """PELT on squared errors with the BIC's penalty, the noise taken from differences."""
    if values.size < 6:
        return []
    spread = 1.4826 * float(np.median(np.abs(np.diff(values)))) / math.sqrt(2)
    model = ruptures.Pelt(model="l2", min_size=3, jump=1).fit(values)
    return list(model.predict(pen=2 * math.log(values.size) * spread**2)[:-1])


def search_kernel(values: Array) -> list[int]:
    """PELT on a Gaussian kernel with the penalty that the documentation's examples use."""
    if values.size < 6:
        return []
    model = ruptures.KernelCPD(kernel="rbf", min_size=3).fit(values)
    return list(model.predict(pen=10)[:-1])


def search_otava(values: Array) -> list[int]:
    """Apache Otava at its default level."""
    from otava.analysis import compute_change_points

    points, _ = compute_change_points(values.tolist())
    return [point.index for point in points]


SEARCHES: dict[str, Search] = {
    "sdperf": search_sdperf,
    "ruptures PELT l2, BIC": search_pelt,
    "ruptures kernel (rbf), pen=10": search_kernel,
}
if importlib.util.find_spec("otava") is not None:
    SEARCHES["otava, p=0.001"] = search_otava
