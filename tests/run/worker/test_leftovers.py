"""What a request leaves changed in its worker is named and put back before the next one."""

import pytest
import torch

from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, WorkerSpec
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny", prompts=("red apple",), num_inference_steps=2, guidance_scale=3.0, height=32
)


@pytest.fixture(autouse=True)
def emptied():
    yield
    worker.unload()
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float32)


def run_rounds(tiny_folder, subject, rounds=3):
    name = f"tests.support.leaking_subjects:{subject}"
    worker.load(WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu", subject=name))
    request = RoundRequest(WORKLOAD, (WORKLOAD.image(0),), "sync", 1)
    return [worker.run_round(request) for _ in range(rounds)]


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("threads", "torch's threads was 1 and is 3"),
        ("scheduler", "the pipeline's scheduler was PNDMScheduler and is another DDIMScheduler"),
        ("scheduler_config", "the scheduler's configuration: beta_end was 0.012 and is 0.02"),
        ("deterministic", "torch's deterministic kernels was False and is True"),
        ("default_dtype", "torch's default dtype was torch.float32 and is torch.float64"),
    ],
)
def test_a_leak_is_named_by_the_next_round_and_does_not_change_its_image(
    tiny_folder, subject, said
):
    first, *others = run_rounds(tiny_folder, subject)
    assert first.leftovers == ()
    assert [one.leftovers for one in others] == [(said,)] * 2
    assert {one.images[0].png for one in others} == {first.images[0].png}


def test_a_pipeline_that_leaves_nothing_is_not_named(tiny_folder):
    assert [one.leftovers for one in run_rounds(tiny_folder, "nothing")] == [()] * 3


def test_what_another_request_left_is_said_by_the_next_round(tiny_folder):
    (first,) = run_rounds(tiny_folder, "nothing", rounds=1)
    ask = worker.loaded.find_device_thread().submit
    ask(torch.set_num_threads, 2).result()
    request = RoundRequest(WORKLOAD, (WORKLOAD.image(0),), "sync", 1)
    worker.profile_round(request)
    result = worker.run_round(request)
    assert result.leftovers == ("torch's threads was 1 and is 2",)
    assert result.images[0].png == first.images[0].png
    assert result.cpu_s > 0
