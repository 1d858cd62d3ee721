"""A session that compares says which component of a picture is the first to differ."""

import json

import pytest

from tests.support.stories import unwrap

SUBJECTS = """
import torch

def exact(request):
    return request.load()

def rounded(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.unet.conv_out.weight.mul_(1 + 1e-6)
    return pipeline

def weak(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.unet.conv_out.weight.mul_(1.5)
    return pipeline

def other_text(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.text_encoder.get_input_embeddings().weight.mul_(1.1)
    return pipeline
"""


@pytest.fixture
def run(bench, script, pytester):
    pytester.makepyfile(subjects=SUBJECTS)

    def run(subject, *arguments):
        return bench(
            "--benchmark-autosave", "--sd-unwatched", *arguments, subject=f"subjects:{subject}"
        )

    return run


def read_imprints(pytester):
    (saved,) = pytester.path.glob(".benchmarks/*/*.json")
    cases = json.loads(saved.read_text())["benchmarks"]
    return {one["name"]: one["extra_info"]["sdperf"]["imprints"] for one in cases}


def test_imprints_are_saved_and_equal_code_is_not_mentioned(run, pytester):
    assert run("exact").ret == 0
    imprints = read_imprints(pytester)
    counts = {name.partition("[")[0]: len(each) for name, each in imprints.items()}
    assert counts == {"test_latency": 1, "test_throughput": 2}
    same = run("exact", "--benchmark-compare")
    assert same.ret == 0
    same.stdout.no_fnmatch_line("*is the first to differ*")


@pytest.mark.parametrize(
    ("subject", "lines"),
    [
        (
            "rounded",
            ["CHANGED  *identical inside until now*output at step 1 of 2 is the first*"],
        ),
        ("weak", ["*the latents part from the baseline's: the denoiser's output at step 1 of 2*"]),
        ("other_text", ["*the text encoder's output is the first to differ*"]),
    ],
)
def test_the_component_that_differs_is_named(run, subject, lines):
    assert run("exact").ret == 0
    unwrap(run(subject, "--benchmark-compare")).fnmatch_lines(lines)


def test_a_run_saved_before_there_were_imprints_is_compared_with(run, pytester):
    assert run("exact").ret == 0
    (saved,) = pytester.path.glob(".benchmarks/*/*.json")
    document = json.loads(saved.read_text())
    for one in document["benchmarks"]:
        del one["extra_info"]["sdperf"]["imprints"]
    saved.write_text(json.dumps(document))
    result = run("weak", "--benchmark-compare")
    result.stdout.no_fnmatch_line("*is the first to differ*")
    result.stdout.no_fnmatch_line("*cannot be read*")


def test_one_picture_is_imprinted_however_long_it_takes(run, pytester, monkeypatch):
    monkeypatch.setattr("sdperf.run.suite.IMPRINT_BUDGET_S", 0.0)
    assert run("exact").ret == 0
    assert [len(each) for each in read_imprints(pytester).values()] == [1, 1]


def test_a_thread_count_of_ones_own_is_imprinted_and_an_async_case_is_not(run, pytester):
    assert run("exact", "--sd-threads=1", "--sd-mode=sync,async").ret == 0
    imprints = read_imprints(pytester)
    assert {name.split("-")[1]: bool(each) for name, each in imprints.items()} == {
        "sync": True,
        "async": False,
    }
