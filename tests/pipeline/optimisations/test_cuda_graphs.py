"""Recording and replaying, with a recorder that needs no GPU."""

import pytest
import torch

from sdperf.pipeline.optimisations.cuda_graphs import (
    Graphed,
    graph_networks,
    record_cuda_graph,
    recordings_bypassed,
)
from tests.support import tiny_pipelines


class Recorder:
    """Stands in for a CUDA graph: what is recorded reads and writes the same places again."""

    def __init__(self):
        self.recorded = 0
        self.warmups = []

    def __call__(self, work, warmups):
        self.recorded += 1
        self.warmups.append(warmups)
        for _ in range(warmups):
            work()
        output = work()

        def replay():
            for place, value in zip(leaves(output), leaves(work()), strict=True):
                place.copy_(value)

        return output, replay


def leaves(value):
    from torch.utils._pytree import tree_leaves

    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def test_each_shape_is_recorded_once_and_replayed_with_new_values():
    record = Recorder()
    double = Graphed(lambda x, *, scale: (x * scale,), record=record, warmups=2)

    small, other = torch.ones(2), torch.full((2,), 3.0)
    assert double(small, scale=2)[0].tolist() == [2, 2]
    assert double(other, scale=2)[0].tolist() == [6, 6]
    assert record.recorded == 1
    assert double(torch.ones(3), scale=2)[0].tolist() == [2, 2, 2]
    assert double(small, scale=5)[0].tolist() == [5, 5]
    assert double(small.double(), scale=2)[0].dtype == torch.float64
    assert record.recorded == 4
    assert record.warmups == [2] * 4


def test_a_result_outlives_the_next_replay():
    double = Graphed(lambda x: x * 2, record=Recorder())
    first = double(torch.ones(2))
    double(torch.zeros(2))
    assert first.tolist() == [2, 2]


def test_inputs_are_left_alone():
    def careless(x):
        return x.mul_(2)

    mine = torch.ones(2)
    Graphed(careless, record=Recorder())(mine)
    assert mine.tolist() == [1, 1]


def test_counting_runs_past_recordings():
    record = Recorder()
    double = Graphed(lambda x: x * 2, record=record)
    with recordings_bypassed():
        assert double(torch.ones(1)).item() == 2
    assert record.recorded == 0
    double(torch.ones(1))
    assert record.recorded == 1


@pytest.mark.parametrize("with_denoiser", [True, False])
def test_all_networks_of_a_pipeline_are_recorded(tiny_folder, with_denoiser):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    plain = pipeline.vae.decode(torch.ones(1, 4, 8, 8)).sample
    graph_networks(pipeline, Recorder(), with_denoiser=with_denoiser)

    assert isinstance(pipeline.unet.forward, Graphed) is with_denoiser
    assert isinstance(pipeline.text_encoder.forward, Graphed)
    assert torch.equal(pipeline.vae.decode(torch.ones(1, 4, 8, 8)).sample, plain)


def test_a_vae_that_moves_its_weights_is_not_recorded(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sdxl"), torch_dtype=torch.float16)
    graph_networks(pipeline, Recorder())
    assert not isinstance(pipeline.vae.decoder.forward, Graphed)
    pipeline.vae.to(torch.float32)
    graph_networks(pipeline, Recorder())
    assert isinstance(pipeline.vae.decoder.forward, Graphed)


@pytest.mark.cuda
def test_a_real_graph_computes_anew():
    weight = torch.randn(64, 64, device="cuda")
    product = Graphed(lambda x: x @ weight, record=record_cuda_graph)
    for _ in range(3):
        x = torch.randn(8, 64, device="cuda")
        torch.testing.assert_close(product(x), x @ weight)
