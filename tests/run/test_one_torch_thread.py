"""On a CPU every operator of torch runs on the device thread, from loading to delivery.

A second thread that calls one opens a second team of OpenMP threads; the first team then sleeps
between two operators instead of waiting awake, and every figure of the process doubles.
"""

import pytest
import torch

from evidence.mapped_pipelines.families import FAMILIES
from sdperf.pipeline.optimisations import memory
from sdperf.pipeline.optimisations.catalogue import (
    DIFFUSERS_CACHES,
    OPTIMISATIONS,
    parse_optimisations,
)
from sdperf.pipeline.separable import SeparableStages
from sdperf.record.workload import PRECISIONS, Workload
from sdperf.run import worker
from sdperf.run.messages import EngineShape, RoundRequest, WorkerSpec
from sdperf.run.quality.questions import GenerateBatch, RecordImage, ReplayRecording, SoilMemory
from tests.support.tiny_pipelines import resolve, tiny_folder
from tests.support.torch_threads import torch_threads

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple", "house"),
    num_inference_steps=1,
    guidance_scale=3.0,
    height=32,
    width=32,
)
STAGE_NAMES = ("encode_prompt", "denoise", "decode_latents", "deliver")
COMPILED = (
    *("compile", "compile_blocks", "compile_blocks_dynamic", "compile_vae"),
    *("tuned_kernels", "kept_code"),
)
"""Compiling takes a minute here, and what is compiled runs on the thread that calls it."""

FOR_TRANSFORMERS = ("real_rotary", *DIFFUSERS_CACHES)
"""Refused for the pipelines that are tried here."""

ON_CPU = sorted(
    name
    for name, one in OPTIMISATIONS.items()
    if "cpu" not in one.refusals
    and name not in (*COMPILED, *FOR_TRANSFORMERS, "int4_weights", "batch4", "batch8", "batch16")
)
"""int4 needs larger matrices than the tiny networks have; larger batches are batch2 again."""


@pytest.fixture(autouse=True)
def emptied(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(memory, "_process", memory._Process())  # times are nothing to these tests
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    worker.unload()


def on_device_thread(work):
    return worker.loaded.find_device_thread().submit(work).result()


def make_request(mode="sync", count=1, stage=None):
    images = tuple(WORKLOAD.image(index) for index in range(count))
    return RoundRequest(WORKLOAD, images, mode, 1, stage=stage)


def ask_for_everything(spec):
    """Ask a worker for all that a session asks for."""
    worker.load(spec)
    image = WORKLOAD.image(0)
    worker.run_round(make_request())
    worker.run_round(make_request("async", count=2))
    for stage in STAGE_NAMES:
        worker.run_round(make_request(stage=stage))
    worker.profile_round(make_request())
    worker.count_round(make_request())
    images = make_request(count=2).images
    worker.ask(GenerateBatch(WORKLOAD, images, 1))
    worker.ask(SoilMemory(WORKLOAD, images, 1))
    recording = worker.ask(RecordImage(WORKLOAD, image, 1))
    worker.ask(ReplayRecording(WORKLOAD, image, 1, recording))


def generate(spec, modes=("async",)):
    worker.load(spec)
    for mode in modes:
        worker.run_round(make_request(mode))


def check(work):
    with torch_threads(on_device_thread) as seen:
        work()
    assert seen.device_thread in seen.operators
    assert seen.elsewhere() == {}


def test_everything_that_a_session_asks_for(tiny_folder):
    spec = WorkerSpec(resolve(tiny_folder("smallest-sd")), "bf16", "cpu")
    check(lambda: ask_for_everything(spec))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_in_each_precision(tiny_folder, family, precision):
    spec = WorkerSpec(resolve(tiny_folder(family)), precision, "cpu")
    check(lambda: generate(spec))


@pytest.mark.parametrize("name", ON_CPU)
def test_each_optimisation(tiny_folder, name):
    one = OPTIMISATIONS[name]
    names = parse_optimisations("+".join((name, *one.needs[:1])))
    family = "sdxl" if one.families is not None and "sd" not in one.families else "smallest-sd"
    spec = WorkerSpec(resolve(tiny_folder(family)), "fp32", "cpu", optimisations=names)
    check(lambda: generate(spec))


@pytest.mark.parametrize(
    ("engine", "package"),
    [
        pytest.param("onnx", "onnxruntime", marks=pytest.mark.long),
        pytest.param("openvino", "openvino", marks=pytest.mark.long),
        ("mlx", "mlx.core"),
    ],
)
def test_each_engine_that_runs_beside_a_cpu(tiny_folder, engine, package):
    pytest.importorskip(package)
    spec = WorkerSpec(
        resolve(tiny_folder("sd")), "fp32", "cpu", engine=engine, shape=EngineShape.of(WORKLOAD)
    )
    check(lambda: generate(spec))


def test_a_planted_operator_on_a_second_thread_is_seen(tiny_folder, monkeypatch):
    started = SeparableStages.start_decoding

    def start_decoding(self, latents):
        fetch = started(self, latents)
        return lambda: torch.from_numpy(fetch()).float().numpy()  # on a host thread

    monkeypatch.setattr(SeparableStages, "start_decoding", start_decoding)
    spec = WorkerSpec(resolve(tiny_folder("smallest-sd")), "bf16", "cpu")
    with torch_threads(on_device_thread) as seen:
        generate(spec)
    planted = set().union(*seen.elsewhere().values())
    assert "aten::to" in planted


def test_a_planted_tensor_of_a_tokenizer_on_a_second_thread_is_seen(tiny_folder, monkeypatch):
    from sdperf.pipeline import tokenize_ahead

    def run_ahead(self, tokenizer):
        result = self.run(tokenizer)
        return lambda: result

    monkeypatch.setattr(tokenize_ahead._Call, "run_ahead", run_ahead)
    with torch_threads(on_device_thread) as seen:
        worker.load(WorkerSpec(resolve(tiny_folder("smallest-sd")), "fp32", "cpu"))
        worker.run_round(make_request("async"))
    assert seen.elsewhere()
