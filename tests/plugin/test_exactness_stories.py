"""Pictures that are no longer bit for bit what they were: said always, failing where asked."""

import json

import pytest

from sdperf.cli import main
from tests.support.stories import accept_sessions

SUBJECTS = """
def exact(request):
    return request.load()

def nudged(request):
    pipeline = request.load()
    decode = pipeline.vae.decode
    def other(latents, **named):
        image = decode(latents, **named)
        image[0][..., :2, :2] += 4 / 255
        return image
    pipeline.vae.decode = other
    return pipeline
"""


UGLIER = """

def ruined(request):
    pipeline = request.load()
    decode = pipeline.vae.decode
    def other(latents, **named):
        image = decode(latents, **named)
        image[0][..., :16, :16] *= -1
        return image
    pipeline.vae.decode = other
    return pipeline
"""


@pytest.fixture
def run(bench, script, pytester):
    pytester.makepyfile(subjects=SUBJECTS + UGLIER)

    def run(*arguments, subject="exact"):
        return bench("--benchmark-autosave", *arguments, subject=f"subjects:{subject}")

    return run


def test_a_change_below_every_floor_is_said_and_passes(run):
    assert run().ret == 0
    same = run("--benchmark-compare")
    assert same.ret == 0
    same.stdout.no_fnmatch_line("*CHANGED*")
    changed = run("--benchmark-compare", subject="nudged")
    assert changed.ret == 0
    changed.stdout.fnmatch_lines(
        ["CHANGED  latency*: 'red apple' (seed 0): identical until now (the last 1 session),*"]
    )


@pytest.mark.parametrize("flag", ["--sd-exact", "--sd-strict"])
def test_a_change_fails_where_that_is_asked(run, flag):
    assert run().ret == 0
    changed = run("--benchmark-compare", flag, subject="nudged")
    assert changed.ret == 1
    changed.stdout.fnmatch_lines(["*not saved: a run with a failure is never a baseline*"])


def test_accepted_sessions_say_since_when_and_an_accepted_change_is_known(run, pytester, accept):
    accept_sessions(pytester, run, accept, count=3)
    changed = run("--benchmark-compare", subject="nudged")
    changed.stdout.fnmatch_lines(["CHANGED  latency*identical until now (the last 3 sessions),*"])
    assert accept(reason="meant") == 0
    again = run("--benchmark-compare", "--sd-exact", subject="nudged")
    assert again.ret == 0
    again.stdout.no_fnmatch_line("*CHANGED*")


def test_the_advice_below_a_change_can_be_typed_where_the_case_fails_too(run, pytester, accept):
    accept_sessions(pytester, run, accept, count=1)
    failed = run("--benchmark-compare", subject="ruined")
    assert failed.ret == 1
    said = " ".join(failed.stdout.str().split())
    assert "DEGRADED latency" in said
    assert "if it is meant: sdperf baseline accept --reason TEXT --intended-change; pytest" in said
    assert accept(reason="meant") == 2
    assert accept("--intended-change", reason="meant") == 0


def test_two_runs_of_the_same_ruined_pictures_are_not_worse_than_each_other(
    run, pytester, accept, capsys
):
    accept_sessions(pytester, run, accept, count=1)
    for name in ("a.json", "b.json"):
        assert run("--benchmark-compare", subject="ruined").ret == 1
        (pytester.path / ".sdperf/last-run.json").rename(pytester.path / name)
    capsys.readouterr()
    main(["compare", "a.json", "b.json", "--format", "json"])
    cases = json.loads(capsys.readouterr().out)["cases"]
    found = [one for case in cases for one in case["findings"] if one["gate"] == "image"]
    assert {one["outcome"] for one in found} == {"PASS"}
    assert found[0]["reason"].startswith(
        "the same bytes as in a.json; DEGRADED in its own run, against baseline 0001: "
    )
    (accepted,) = (pytester.path / "benchmarks/baselines").glob("*/0001*.json")
    assert main(["compare", str(accepted), "b.json"]) == 1
    said = capsys.readouterr().out
    assert "DEGRADED" in said
    assert "in its own run" not in said, "it is the base that it was found against"
