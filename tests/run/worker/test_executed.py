"""Executed equals asked: other work of a pipeline is said, with both values."""

import dataclasses

import pytest

from evidence.mapped_pipelines.families import FAMILIES
from sdperf.record.execution import AskedExecution, Execution, explain_differences
from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, WorkerSpec
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple",),
    num_inference_steps=4,
    guidance_scale=3.0,
    height=32,
    width=32,
)
SUBJECTS = "tests.support.deviating_subjects"


@pytest.fixture(autouse=True)
def emptied():
    yield
    worker.unload()


def run(spec, workload=WORKLOAD, rounds=2, modes=("sync",)):
    worker.load(spec)
    requests = [RoundRequest(workload, (workload.image(0),), mode, 1) for mode in modes]
    return [worker.run_round(request) for request in requests for _ in range(rounds)]


def make_spec(tiny_folder, subject=None, family="sd", **changes):
    name = None if subject is None else f"{SUBJECTS}:{subject}"
    spec = WorkerSpec(resolve(tiny_folder(family)), "fp32", "cpu", subject=name)
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_plain_pipeline_executes_what_it_is_asked_for(tiny_folder, family, precision):
    spec = make_spec(tiny_folder, family=family, precision=precision)
    workload = dataclasses.replace(WORKLOAD, num_inference_steps=1)
    results = run(spec, workload, modes=("sync", "async"))
    assert len(results) == 4
    for result in results:
        assert result.images[0].faults == ()
        assert result.execution.precision == precision
        assert (result.execution.width, result.execution.height) == (32, 32)
        assert result.execution.steps in (1, 2)  # PNDM takes one more
        assert result.execution.guided is (family != "flux")


def test_a_subject_without_a_deviation_is_left_alone(tiny_folder):
    assert run(make_spec(tiny_folder, "plain"))[-1].images[0].faults == ()


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("half_size", "asked for 32 x 32 px, drawn 16 x 16 px"),
        ("fewer_steps", "asked for 4 steps (5 of this scheduler), executed 4"),
        ("no_guidance", "asked for guidance on, executed with guidance off"),
        ("bf16_inside", "asked for denoiser's weights in fp32, executed bf16"),
    ],
)
def test_a_deviation_is_said_of_every_round(tiny_folder, subject, said):
    for result in run(make_spec(tiny_folder, subject)):
        (fault,) = result.images[0].faults
        assert said in fault


def test_another_scheduler_than_asked_is_said(tiny_folder):
    asked = dataclasses.replace(WORKLOAD, scheduler="EulerDiscreteScheduler")
    faults = run(make_spec(tiny_folder, "other_scheduler"), asked)[-1].images[0].faults
    assert any("EulerDiscreteScheduler, executed DDIMScheduler" in fault for fault in faults)


def test_a_subject_is_held_to_the_models_scheduler_where_nobody_named_one(tiny_folder):
    (fault,) = (
        run(make_spec(tiny_folder, "another_scheduler_from_the_start"), rounds=1)[0]
        .images[0]
        .faults
    )
    said = "asked for the scheduler PNDMScheduler, the model's own, as --sd-scheduler named none, "
    assert fault.startswith(said + "executed DDIMScheduler")
    asked = dataclasses.replace(WORKLOAD, scheduler="DDIMScheduler")
    spec = make_spec(tiny_folder, "another_scheduler_from_the_start")
    assert run(spec, asked, rounds=1)[0].images[0].faults == ()


def test_a_subclass_of_the_models_scheduler_is_the_models(tiny_folder):
    result = run(make_spec(tiny_folder, "own_scheduler"), rounds=1)[0]
    assert result.execution.scheduler == "Own"
    assert result.images[0].faults == ()


@pytest.mark.parametrize(
    "scheduler",
    ["PNDMScheduler", "HeunDiscreteScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"],
)
def test_what_a_scheduler_plans_is_what_is_asked_for(tiny_folder, scheduler):
    workload = dataclasses.replace(WORKLOAD, scheduler=scheduler)
    result = run(make_spec(tiny_folder), workload)[-1]
    assert result.images[0].faults == ()
    assert result.execution.scheduler == scheduler
    assert result.execution.steps >= 4


def test_guidance_that_was_not_asked_for_is_off(tiny_folder):
    result = run(make_spec(tiny_folder), dataclasses.replace(WORKLOAD, guidance_scale=1.0))[-1]
    assert result.images[0].faults == ()
    assert result.execution.guided is False


@pytest.mark.parametrize("names", [("channels_last",), ("fused_projections",), ("batch2",)])
def test_optimisations_that_took_effect_are_recorded(tiny_folder, names):
    result = run(make_spec(tiny_folder, optimisations=names))[-1]
    assert result.images[0].faults == ()
    assert all(result.execution.optimisations.values())
    if names == ("batch2",):
        assert result.execution.denoiser_batch == 4


def test_an_optimisation_without_effect_is_said(tiny_folder):
    spec = make_spec(tiny_folder, "keeps_no_channels_last", optimisations=("channels_last",))
    (fault,) = run(spec)[-1].images[0].faults
    assert fault == "asked for channels_last, executed without"


def test_nothing_of_the_count_stays_on_the_pipeline(tiny_folder):
    run(make_spec(tiny_folder))
    pipeline = worker._current()._pipeline
    assert not {"step", "set_timesteps"} & set(vars(pipeline.scheduler))
    assert not pipeline.unet._forward_pre_hooks


def test_what_was_not_seen_is_no_difference():
    asked = AskedExecution(20, 20, 64, 64, True, "fp32", "DDIMScheduler")
    assert explain_differences(asked, Execution()) == ()
    assert explain_differences(AskedExecution(), Execution(15, 15, 2, True, "bf16", "X")) == ()
    assert explain_differences(AskedExecution(fewest_steps=20), Execution(steps=15)) == (
        "asked for 20 steps or more, executed 15",
    )
