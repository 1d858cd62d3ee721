import json
from argparse import Namespace

import pytest

from evidence.history_load.__main__ import format_page, measure
from evidence.history_load.runs import SHAPES, RunMaker
from sdperf.store.history.extraction import extract_run


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_of_every_shape_are_kept_whole_and_differ(shape):
    maker = RunMaker(shape, seed=1)
    one, two = (extract_run(json.loads(maker.make(number)), "x") for number in (1, 2))
    assert one.content_sha256 != two.content_sha256
    assert one.commit_id != two.commit_id
    assert all(case.figures.seconds_per_image > 0 for case in one.cases)
    assert RunMaker(shape, seed=1).make(1) != RunMaker(shape, seed=2).make(1)


def test_a_small_load_is_measured_and_told(tmp_path):
    found = measure(Namespace(runs=3, shape="case", url=None), tmp_path)
    assert [chunk["runs"] for chunk in found["chunks"]] == [3]
    assert all(took_s > 0 for took_s in found["seconds_of_questions"].values())
    page = format_page({"case sqlite": found})
    assert "3 runs of 1 cases" in page
    assert "sdperf trend of one case" in page
