"""A grid of settings that were all drawn and timed: recorded once, replayed at will."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdperf.errors import SdperfError
from sdperf.record.json import format_record, parse_record
from sdperf.store.files import write_atomically
from sdperf.tune.question.question import StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point
from sdperf.tune.trial.rig import Rig
from sdperf.tune.trial.scoring import find_faults, score_images
from sdperf.tune.trial.tuning import draw_references

WRITE_EVERY = 20
ROUNDS = 3
"""Of each setting, as a study makes at least; their median counts."""


@dataclass(frozen=True)
class Cell:
    """A setting, and where it stands; ``point`` is ``None`` where it gave no image."""

    setting: TrialSetting
    point: Point | None
    reason: str | None = None


@dataclass(frozen=True)
class Grid:
    """All settings of a question's space.

    Attributes:
        machine: The kind of machine.
        question: What was asked; its space is the grid.
        cells: As far as they were recorded.
    """

    machine: str
    question: StudyQuestion
    cells: tuple[Cell, ...] = field(default_factory=tuple)

    def list_missing(self, part: tuple[int, int] = (0, 1)) -> list[TrialSetting]:
        """List what is not recorded yet; of part (1, 4) every fourth, from the second on."""
        known = {cell.setting for cell in self.cells}
        mine = self.question.space.list_settings()[part[0] :: part[1]]
        return [one for one in mine if one not in known]

    def is_whole(self) -> bool:
        return not self.list_missing()

    def points(self) -> dict[TrialSetting, Point | None]:
        return {cell.setting: cell.point for cell in self.cells}


def record(
    grid: Grid,
    rig: Rig,
    path: Path,
    may_go_on: Callable[[], bool],
    say: Callable[[str], None],
    part: tuple[int, int] = (0, 1),
) -> Grid:
    """Draw and time what is missing, keeping it as it goes.

    Args:
        grid: What was recorded before.
        rig: Where to draw.
        path: Where the grid is kept.
        may_go_on: Asked before each setting.
        say: Shows how it goes.
        part: As for `Grid.list_missing`.
    """
    question, cells = grid.question, list(grid.cells)
    missing = grid.list_missing(part)
    missing.sort(key=lambda one: (one.precision, one.variant.optimisations, one.workers))
    references = draw_references(question, rig) if missing else []
    workload = question.workload
    images = [workload.image(index) for index in range(question.images)]
    for count, setting in enumerate(missing, start=1):
        if not may_go_on():
            break
        try:
            rig.load(workload, setting)
            rounds = [rig.draw(workload, setting, images) for _ in range(ROUNDS)]
            drawn = rounds[0].images
            faults = find_faults(drawn)
            seconds = statistics.median(one.seconds_per_image for one in rounds)
            point = None if faults else Point(seconds, score_images(references, drawn).ssim)
            cells.append(Cell(setting, point, "; ".join(faults) or None))
        except SdperfError as error:
            cells.append(Cell(setting, None, str(error)[:200]))
        if count % WRITE_EVERY == 0:
            write(path, Grid(grid.machine, question, tuple(cells)))
            say(f"{len(cells)} of {len(grid.cells) + len(missing)} settings")
    found = Grid(grid.machine, question, tuple(cells))
    write(path, found)
    return found


def merge(parts: Sequence[Grid]) -> Grid:
    """Put parts of one grid together.

    Raises:
        ValueError: They are parts of different grids, or a setting is in two of them.
    """
    heads = [dataclasses.replace(part, cells=()) for part in parts]
    if any(head != heads[0] for head in heads):
        raise ValueError("these are parts of different grids")
    cells = [cell for part in parts for cell in part.cells]
    if len({cell.setting for cell in cells}) != len(cells):
        raise ValueError("a setting is in two of the parts")
    return dataclasses.replace(heads[0], cells=tuple(cells))


def write(path: Path, grid: Grid) -> None:
    document = format_record(grid)
    cells = ",\n".join(json.dumps(cell) for cell in document.pop("cells"))
    head = json.dumps(document)[:-1]
    write_atomically(path, f'{head}, "cells": [\n{cells}\n]}}\n'.encode())


def read(path: Path) -> Grid:
    return parse_record(Grid, json.loads(path.read_text()))
