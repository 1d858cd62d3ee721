"""A worker's first case computes with the threads that were asked for, as every later one does."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]

PROGRAM = """
import sys
from pathlib import Path

import torch
from sdperf.record.workload import Workload
from sdperf.run import worker
from sdperf.run.messages import RoundRequest, WorkerSpec
from tests.support.tiny_pipelines import resolve

workload = Workload(
    model="tiny", prompts=("red apple",), num_inference_steps=1, guidance_scale=3.0, height=32
)
worker.load(WorkerSpec(resolve(Path(sys.argv[1])), "fp32", "cpu"))
request = RoundRequest(workload, (workload.image(0),), "sync", torch.get_num_threads())
with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
    worker.run_round(request)
"""


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch is built without MKL")
def test_no_product_of_the_first_case_is_divided_among_as_many_threads_as_mkl_likes(tiny_folder):
    # A library that was told no number of threads takes fewer than it could ("Dyn:1"), until the
    # first case with another number: the cases before that ran other work than those after it.
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tiny_folder("sd")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    products = [line for line in done.stdout.splitlines() if "GEMM" in line]
    assert products
    assert not [line for line in products if "Dyn:1" in line]
