"""A worker whose pipeline another engine runs, and what it says where that cannot be."""

import dataclasses

import pytest
import torch

from sdperf.engines.catalogue import ENGINES
from sdperf.errors import ConfigurationError, EngineError
from sdperf.record.workload import Workload
from sdperf.run import suite as suite_module
from sdperf.run import worker
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.messages import EngineShape, RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from sdperf.run.suite import Suite
from sdperf.run.worker.hosting import check_hostable
from tests.support.tiny_pipelines import resolve, tiny_folder
from tests.support.toy_engine import ToyEngine, toy_choice

__all__ = ["tiny_folder"]

WORKLOAD = Workload(
    model="tiny",
    prompts=("red apple",),
    num_inference_steps=2,
    guidance_scale=3.0,
    height=32,
    width=32,
)


@pytest.fixture(autouse=True)
def toys(monkeypatch, tmp_path):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    monkeypatch.setattr(ToyEngine, "prepared", 0)
    for choice in (
        toy_choice(),
        toy_choice("toy-broken", options={"fault": "convert"}),
        toy_choice("toy-damaged", options={"fault": "load"}),
        toy_choice("toy-narrow", options={"fault": "precision"}),
        toy_choice("toy-absent", packages=(("sdperf-toy",),)),
        toy_choice("toy-refused", refusals={"cpu": "it is too small"}),
    ):
        monkeypatch.setitem(ENGINES, choice.name, choice)
    yield
    worker.unload()


@pytest.fixture
def model(tiny_folder):
    return resolve(tiny_folder("sd"))


def make_spec(model, engine="toy", **changes):
    spec = WorkerSpec(model, "fp32", "cpu", engine=engine, shape=EngineShape.of(WORKLOAD))
    return dataclasses.replace(spec, **changes)


def run_round(spec):
    report = worker.load(spec)
    result = worker.run_round(RoundRequest(WORKLOAD, (WORKLOAD.image(0),), "sync", 1))
    return report, result.images[0].png


def test_a_hosted_pipeline_makes_the_same_image_and_says_what_runs_it(model):
    plain_report, expected = run_round(WorkerSpec(model, "fp32", "cpu"))
    report, png = run_round(make_spec(model, "toy"))
    assert png == expected
    assert plain_report.engine is None
    assert (report.engine.name, report.engine.provider) == ("toy", "ToyProvider")
    assert report.engine.model_bytes == len("text_encoderunetvae_decoder")
    assert report.engine.conversion_s > 0
    assert not report.engine.was_cached
    assert report.is_separable
    assert report.load_s > 0
    again, _ = run_round(make_spec(model, "toy"))
    assert again.engine == dataclasses.replace(report.engine, was_cached=True)


def test_the_threads_of_a_round_are_the_engines_and_torch_keeps_one(model):
    ask = worker.loaded.find_device_thread().submit  # each thread has a number of its own
    before = ask(torch.get_num_threads).result()
    request = RoundRequest(WORKLOAD, (WORKLOAD.image(0),), "sync", 2)
    try:
        worker.load(make_spec(model, "toy"))
        worker.run_round(request)
        assert worker._loaded._hosted.engine.threads == 2
        assert ask(torch.get_num_threads).result() == 1
        worker.load(WorkerSpec(model, "fp32", "cpu"))
        worker.run_round(request)
        assert ask(torch.get_num_threads).result() == 2
    finally:
        ask(torch.set_num_threads, before).result()


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("toy-broken", "the unet cannot be made a toy; got: aten::fancy"),
        ("toy-damaged", "the engine toy-damaged cannot be imported; got: libtoy.so"),
        ("toy-absent", "sdperf-toy missing.*pip install 'sdperf.toy.'"),
        ("toy-refused", "the engine toy-refused cannot run on cpu; got: it is too small"),
    ],
)
def test_an_engine_that_cannot_is_one_message(model, engine, message):
    with pytest.raises(EngineError, match=message):
        worker.load(make_spec(model, engine))


@pytest.mark.parametrize(
    ("engine", "precision", "message"),
    [
        ("toy-narrow", "fp16", "the toy cannot run fp16 on this processor"),
        ("toy", "bf16", "the engine toy cannot run bf16"),
        ("toy-damaged", "fp32", "the engine toy-damaged cannot be imported"),
    ],
)
def test_what_an_engine_or_this_machine_lacks_is_refused_before_loading(
    model, engine, precision, message
):
    nowhere = dataclasses.replace(model, folder=model.folder / "nowhere")
    with pytest.raises(EngineError, match=message):
        worker.load(make_spec(nowhere, engine, precision=precision))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "toy-unheard-of"}, "there is no such engine"),
        ({"subject": "mine:make"}, "takes the model's own pipeline and no code"),
        ({"optimisations": ("batch4", "compile")}, "compile changes torch's networks"),
    ],
)
def test_what_goes_with_no_engine_is_refused_before_loading(model, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        check_hostable(make_spec(model, **changes))
    check_hostable(make_spec(model, "toy", optimisations=("batch4", "embed_cache", "stored_png")))


def test_another_family_is_refused(tiny_folder):
    with pytest.raises(EngineError, match="other engines cannot run this StableDiffusion3Pipeline"):
        worker.load(make_spec(resolve(tiny_folder("sd3-without-t5")), "toy"))


def test_a_suite_asks_an_engine_that_failed_only_once(model):
    suite = Suite(WORKLOAD, model, WorkerPool(InProcessHost), "cpu", None, cpu_threads=1)
    try:
        for _ in range(2):
            with pytest.raises(EngineError, match="cannot be made a toy"):
                suite.acquire("fp32", 1, engine="toy-broken")
        assert ToyEngine.prepared == 1
        (hosted,) = suite.acquire("fp32", 1, engine="toy")
        assert hosted.report.engine.name == "toy"
        assert hosted.report.engine.was_cached, "measured in a process that converted nothing"
        assert ToyEngine.prepared == 3
        (plain,) = suite.acquire("fp32", 1)
        assert plain.report.engine is None
    finally:
        suite.close()


def test_an_older_worker_that_knows_no_engines_is_not_measured(model):
    report = worker.load(WorkerSpec(model, "fp32", "cpu"))  # it left the engine out
    with pytest.raises(EngineError, match="the worker does not run on toy; got: torch"):
        suite_module._check_hosted(make_spec(model, "toy"), type("Worker", (), {"report": report}))
