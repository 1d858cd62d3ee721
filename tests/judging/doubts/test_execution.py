"""Other work than the baseline's is BROKEN, whatever the seconds say, and both values are said."""

import dataclasses
import json

import pytest

from sdperf.cli import main
from sdperf.judging.doubts.execution import judge_execution
from sdperf.record.execution import Execution
from sdperf.record.verdict import Outcome
from tests.support.measurements import image, measurement
from tests.support.saved_runs import CASE, make_benchmark

WHOLE = Execution(
    steps=20,
    denoiser_calls=20,
    denoiser_batch=2,
    guided=True,
    precision="fp32",
    scheduler="DPMSolverMultistepScheduler",
    width=128,
    height=128,
    optimisations={"channels_last": True},
)
DIFFERENCES = [
    ({"steps": 15}, "steps of the scheduler 20 in the baseline, 15 now"),
    ({"guided": False}, "guidance on in the baseline, off now"),
    ({"precision": "bf16"}, "the denoiser's weights in fp32 in the baseline, bf16 now"),
    (
        {"scheduler": "UniPCMultistepScheduler"},
        "DPMSolverMultistepScheduler in the baseline, UniPCMultistepScheduler now",
    ),
    ({"optimisations": {"channels_last": False}}, "channels_last on in the baseline, off now"),
]


def measured(size=128, **changes):
    execution = dataclasses.replace(WHOLE, **changes)
    images = (image(width=size, height=size),)
    return measurement(execution=execution, images=images, rounds_s=(0.75, 0.76, 0.74))


@pytest.mark.parametrize(("changes", "words"), DIFFERENCES)
def test_other_work_is_broken_with_both_values(changes, words):
    finding = judge_execution(measured(**changes), measured())
    assert finding.outcome is Outcome.BROKEN
    assert words in finding.reason


def test_another_size_is_broken_with_both_values():
    finding = judge_execution(measured(size=64), measured())
    assert "128 x 128 px in the baseline, 64 x 64 px now" in finding.reason


@pytest.mark.parametrize("name", ["steps", "guided", "precision", "scheduler"])
def test_what_was_not_seen_is_no_difference(name):
    assert judge_execution(measured(**{name: None}), measured()) is None
    assert judge_execution(measured(), measured(**{name: None})) is None
    assert judge_execution(measured(optimisations={}), measured()) is None
    assert judge_execution(measured(), measured()) is None


def test_fewer_calls_of_the_denoiser_are_left_to_the_pictures():
    assert judge_execution(measured(denoiser_calls=10), measured()) is None


def write(folder, name, measured, outcome="PASS"):
    document = {
        "machine_info": {"node": "here", "machine": "x86_64", "cpu": {}},
        "commit_info": {"id": "f" * 40, "dirty": False, "branch": "main"},
        "benchmarks": [make_benchmark(CASE, measured, outcome)],
        "datetime": f"2026-11-23T0{name}:00:00+00:00",
        "version": "5.3.1",
        "sdperf": {"format_version": 1, "outcomes": {CASE: outcome}},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize(("changes", "words"), [*DIFFERENCES, ({"size": 64}, "64 x 64 px now")])
def test_sdperf_compare_fails_and_says_both_values(tmp_path, capsys, changes, words):
    base, head = write(tmp_path, 1, measured()), write(tmp_path, 2, measured(**changes))
    assert main(["compare", base, base]) == 0
    capsys.readouterr()
    assert main(["compare", base, head]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "BROKEN" in said
    assert words in said


def test_sdperf_compare_repeats_what_the_run_itself_found(tmp_path, capsys):
    fault = "asked for 20 steps, executed 15"
    base = write(tmp_path, 1, measured())
    broken = dataclasses.replace(measured(), images=(image(faults=(fault,)),))
    head = write(tmp_path, 2, broken, "BROKEN")
    assert main(["compare", base, head]) == 1
    assert "BROKEN" in capsys.readouterr().out
