"""The grid: recorded in pieces, replayed alike for equal seeds."""

import argparse
import dataclasses
import json

import pytest

from evidence.tune_grid.engines import add_engines, parse_factors
from evidence.tune_grid.grid import Grid, merge, read, record
from evidence.tune_grid.replay import choose_reference, replay
from sdperf.errors import GenerationError
from tests.support.tune_fakes import FakeRig, ask

SEARCH = {
    "steps": [str(steps) for steps in range(5, 9)],
    "guidance": ["1", "2", "3"],
    "scheduler": ["auto", "DDIMScheduler"],
}


def fail(setting):
    if setting.scheduler is not None and setting.num_inference_steps == 7:
        raise GenerationError("the device ran out of memory")


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.json"
    rig = FakeRig(
        noise=lambda one: abs(3.0 - one.guidance_scale) * 5 + (20 - one.num_inference_steps),
        seconds=lambda one: one.num_inference_steps * (0.05 if one.guidance_scale <= 1 else 0.1),
        fails=fail,
    )
    question = ask(search=SEARCH)
    turns = iter([True] * 10)
    part = record(Grid("m", question), rig, path, lambda: next(turns, False), lambda words: None)
    assert (len(part.cells), part.is_whole()) == (10, False)
    return record(read(path), rig, path, lambda: True, lambda words: None), path


def test_a_grid_is_recorded_in_pieces_and_read_back(grid):
    whole, path = grid
    assert whole.is_whole()
    assert len(whole.cells) == 5 * 3 * 2
    assert read(path) == whole
    assert "cells" in json.loads(path.read_text())
    broken = [cell for cell in whole.cells if cell.point is None]
    assert len(broken) == 3
    assert {cell.reason for cell in broken} == {"the device ran out of memory"}


def test_parts_make_the_whole(grid, tmp_path):
    whole, _ = grid
    rig = FakeRig(fails=fail)
    parts = []
    for number in range(3):
        path = tmp_path / f"part-{number}.json"
        empty = Grid("m", whole.question)
        record(empty, rig, path, lambda: True, lambda words: None, (number, 3))
        parts.append(read(path))
    together = merge(parts)
    assert together.is_whole()
    assert set(together.points()) == set(whole.points())
    with pytest.raises(ValueError, match="two of the parts"):
        merge([parts[0], parts[0]])
    with pytest.raises(ValueError, match="different grids"):
        merge([parts[0], Grid("another", whole.question)])


def test_replays_repeat_and_never_shrink(grid):
    whole, _ = grid
    curve = replay(whole, "tpe", 1, 20)
    assert curve == replay(whole, "tpe", 1, 20)
    shares = [share for _, share in curve.shares]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    assert replay(whole, "random", 1, 30).at(30) == pytest.approx(1.0)
    reference = choose_reference(whole)
    assert all(p.seconds < reference.seconds for p in whole.points().values() if p is not None)


def test_engines_are_added_to_plain_settings_and_replayed(grid):
    recorded, _ = grid
    wider = add_engines(recorded, parse_factors("onnx=1.5,openvino=2"))
    assert wider.is_whole(), "each setting of the wider space has a cell"
    assert len(wider.cells) == 3 * len(recorded.cells)
    plain, hosted = recorded.points(), wider.points()
    for setting, point in plain.items():
        faster = hosted[dataclasses.replace(setting, engine="openvino")]
        if point is None:
            assert faster is None
        else:
            assert (faster.seconds, faster.ssim) == (point.seconds / 2, point.ssim)
    assert 0.5 < replay(wider, "tpe", 1, 20).at(20) <= 1
    for text in ("torch=2", "tensorrt=2", "onnx=fast"):
        with pytest.raises(argparse.ArgumentTypeError):
            parse_factors(text)
