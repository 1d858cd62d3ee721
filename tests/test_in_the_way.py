"""The examples of docs/in-the-way.md, on tiny pipelines: each draws, and its parts are judged."""

import re
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from packaging.version import Version

from sdperf.images.png import encode_png
from sdperf.judging.inside.parity import judge_components
from sdperf.models.loader import prepare_pipeline
from sdperf.models.subject import PipelineRequest
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.weights import is_offloaded
from sdperf.record.observation import ComponentParity
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.quality.bench import measure_components
from sdperf.run.worker.recording import record, replay
from tests.support.tiny_pipelines import resolve, tiny_folder  # noqa: F401

PAGE = Path(__file__).parents[1] / "docs" / "in-the-way.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
IMAGE = ImageRequest("red apple", 0)

EXAMPLES = {
    "int8_weights": ("z-image", 0.05),
    "tiled": ("z-image", 0.0),
    "offloaded": ("z-image", 0.0),
    "offloaded_by_layers": ("z-image", 0.0),
    "math_attention": ("z-image", 1e-4),
    "cached": ("flux", 0.5),
}
"""A tiny model for each function of the page, and how far a pixel may be from the plain one's."""


def find_examples():
    names = {}
    exec("\n".join(BLOCK.findall(PAGE.read_text("utf-8"))), names)
    return {name: value for name, value in names.items() if callable(value)}


def test_every_example_of_the_page_is_tried():
    assert find_examples().keys() == EXAMPLES.keys()


@pytest.fixture
def bind(tiny_folder):  # noqa: F811
    def make(name, model):
        workload = Workload(
            "tiny", ("red apple",), num_inference_steps=4, guidance_scale=3.0, height=32, width=32
        )
        request = PipelineRequest(resolve(tiny_folder(model)), torch.float32, torch.device("cpu"))
        make_pipeline = find_examples()[name] if name else PipelineRequest.load
        stages = stages_for(prepare_pipeline(make_pipeline(request)), workload)
        stages.learn(["red apple"])
        return stages

    return make


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_draws_and_its_components_are_judged(bind, name):
    if name == "int8_weights":
        pytest.importorskip("torchao")
    is_old = Version(diffusers.__version__) < Version("0.38")
    if name == "offloaded_by_layers" and is_old and torch.accelerator.current_accelerator() is None:
        pytest.skip("DIFFUSERS BELOW 0.38 offloads by layers only with a torch for an accelerator")
    model, tolerance = EXAMPLES[name]
    plain, subject = bind(None, model), bind(name, model)
    drawn = [each.run_whole(["red apple"], each.draw_noise([IMAGE])) for each in (plain, subject)]
    assert np.abs(drawn[0] - drawn[1]).max() <= tolerance
    assert encode_png(to_uint8(drawn[1])[0])
    assert is_offloaded(subject.pipeline) is name.startswith("offloaded")
    assert not is_offloaded(plain.pipeline)
    if name == "cached":
        return  # a denoiser that keeps what it gave has no parts that can be asked alone
    recording = record(plain, IMAGE)
    distances = measure_components(recording, replay(subject, IMAGE, recording))
    seen = ComponentParity("plain fp32", IMAGE, distances)
    assert {one.component for one in distances} == {"text encoder", "denoiser", "vae"}
    finding = judge_components(seen, "fp32", None)
    assert finding.outcome.is_failure is (name == "int8_weights")
