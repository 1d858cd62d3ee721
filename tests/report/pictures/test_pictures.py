"""Which pictures of a run are said to equal what they were compared with."""

import pytest

from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.report.pictures.pictures import count_identical, list_pairs, list_samples
from tests.support.reported_runs import real_run

LATENCY = "test_latency[fp32-sync-1w]"


def run_of(name, *, against="fp32-sync", sha256=None):
    """A run of one case whose images were compared with one picture only."""
    document = real_run()
    document["benchmarks"] = [one for one in document["benchmarks"] if name in one["fullname"]]
    assert len(document["benchmarks"]) == 1
    fullname = document["benchmarks"][0]["fullname"]
    document["sdperf"]["outcomes"] = {fullname: "PASS"}
    for image in document["benchmarks"][0]["extra_info"]["sdperf"]["images"]:
        image["scores"] = [one for one in image["scores"] if one["against"] == against]
        assert len(image["scores"]) == 1
        if sha256 is not None:
            image["scores"][0]["against_sha256"] = sha256
    return judge_machine([parse_reported_run("run.json", document)])


def test_a_picture_that_is_the_reference_itself_was_compared_with_nothing():
    machine = run_of(LATENCY)
    assert count_identical(machine) == 0
    assert list_pairs(machine) == []
    assert [sample.against for sample in list_samples(machine)] == [None]


@pytest.mark.parametrize("name", ["test_latency[fp32-async-1w]", "test_stage[fp32-denoise]"])
def test_a_picture_that_was_drawn_in_another_way_and_is_equal_counts(name):
    assert count_identical(run_of(name)) == 1


def test_the_model_s_own_picture_and_another_process_s_are_something_to_compare_with():
    assert count_identical(run_of(LATENCY, against="reference")) == 1
    assert count_identical(run_of(LATENCY, sha256="0" * 64)) == 1
