"""A worker's first case computes with the threads that were asked for, as every later one does."""

import os

import pytest
import torch

from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, WorkerSpec
from tests.support.forked_workers import fork_preloaded
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]


def run_first_case(folder, output):
    """Write down what MKL says of the first case of a process, whose libraries know no number."""
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
    workload = Workload(
        model="tiny", prompts=("red apple",), num_inference_steps=1, guidance_scale=3.0, height=32
    )
    worker.load(WorkerSpec(resolve(folder), "fp32", "cpu"))
    request = RoundRequest(workload, (workload.image(0),), "sync", torch.get_num_threads())
    with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
        worker.run_round(request)


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch is built without MKL")
def test_no_product_of_the_first_case_is_divided_among_as_many_threads_as_mkl_likes(
    tiny_folder, tmp_path
):
    # A library that was told no number of threads takes fewer than it could ("Dyn:1"), until the
    # first case with another number: the cases before that ran other work than those after it.
    output = tmp_path / "said.txt"
    process = fork_preloaded().Process(
        target=run_first_case, args=(tiny_folder("smallest-sd"), output)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    products = [line for line in output.read_text().splitlines() if "GEMM" in line]
    assert products
    assert not [line for line in products if "Dyn:1" in line]
