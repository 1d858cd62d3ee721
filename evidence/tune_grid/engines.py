"""A recorded grid with engines added: what would a study find if the search had them too?

Nothing is drawn. On an engine a plain setting takes its recorded seconds divided by a factor and
draws what it drew; settings with optimisations of torch's networks have no counterpart there.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping

from evidence.tune_grid.grid import Cell, Grid
from sdperf.engines.catalogue import ENGINES
from sdperf.pipeline.optimisations.catalogue import list_of_torch
from sdperf.record.workload import TORCH
from sdperf.settings import ENGINE
from sdperf.tune.question.space import NameDimension
from sdperf.tune.study.front import Point


def parse_factors(text: str) -> dict[str, float]:
    """Read ``onnx=1.62,openvino=2.45``: how many times as fast as torch each engine is."""
    found = {}
    for part in text.split(","):
        name, _, factor = part.partition("=")
        if name not in ENGINES or name == TORCH:
            raise argparse.ArgumentTypeError(f"{name!r} is no engine beside torch")
        try:
            found[name] = float(factor)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{part!r} is not ENGINE=FACTOR") from error
    return found


def add_engines(grid: Grid, factors: Mapping[str, float]) -> Grid:
    """Return the grid with an axis for engines."""
    space = grid.question.space
    axis = NameDimension(ENGINE.name, (TORCH, *factors))
    hosted = [
        Cell(
            dataclasses.replace(cell.setting, engine=name),
            None if cell.point is None else Point(cell.point.seconds / factor, cell.point.ssim),
            cell.reason,
        )
        for name, factor in factors.items()
        for cell in grid.cells
        if not list_of_torch(cell.setting.optimisations)
    ]
    wider = dataclasses.replace(space, names=(*space.names, axis))
    question = dataclasses.replace(grid.question, space=wider)
    return dataclasses.replace(grid, question=question, cells=(*grid.cells, *hosted))
