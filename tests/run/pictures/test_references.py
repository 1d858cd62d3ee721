"""Which references are visited, in which order, and what is asked of each: on a pool that notes."""

import contextlib
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sdperf.device import DeviceInfo
from sdperf.errors import GenerationError, UnsupportedError, WorkerError
from sdperf.images.png import encode_png
from sdperf.measure.ledger import Ledger
from sdperf.models.loader import ResolvedModel
from sdperf.record.workload import Variant, Workload
from sdperf.run.messages import DeliveredImage, WorkerSpec
from sdperf.run.pictures import references
from sdperf.run.pictures.comparing import record_images
from sdperf.run.pictures.references import (
    RECORDED_IMAGES,
    PlannedReferences,
    choose_reference,
    fetch_plain,
    find_reference,
    list_reference_specs,
    make_recording,
    make_recordings,
)
from sdperf.run.suite import Suite

WORKLOAD = Workload("tiny", ("red apple", "house"), num_inference_steps=2, guidance_scale=5.0)


class NotedPool:
    """Notes what is loaded, drawn and recorded; one spec at a time.

    Attributes:
        fails: Raised by the drawing of these seeds.
        nonfinite: Whether pictures are drawn with NaN among their values.
        is_the_models: Whether what is loaded is of the model's class.
    """

    is_elsewhere = False
    cases = 0

    def __init__(self, kind):
        self.kind, self.loaded, self.noted, self.fails = kind, None, [], {}
        self.nonfinite, self.is_the_models = False, True
        self.ledger = Ledger()

    def describe_device(self, choice):
        return SimpleNamespace(kind=self.kind)

    def acquire(self, spec, count, role=""):
        if spec != self.loaded:
            self.loaded = spec
            self.noted.append(f"load {spec.precision} {spec.device} {role}".strip())
        report = SimpleNamespace(
            engine=None,
            device=None,
            weight_bytes={},
            is_the_models=self.is_the_models,
            is_offloaded=False,
            program=None,
            picture_call=None,
            pipeline="ZImagePipeline",
        )
        return [SimpleNamespace(report=report)] * count

    def run_round(self, requests):
        (image,) = requests[0].images
        self.noted.append(f"draw {image.seed}")
        error = self.fails.get(image.seed)
        if isinstance(error, WorkerError):
            self.loaded = None
        if error is not None:
            raise error
        delivered = DeliveredImage(b"png", 0.0, nonfinite=self.nonfinite)
        return SimpleNamespace(results=[SimpleNamespace(images=[delivered])])

    def ask(self, question):
        self.noted.append(f"record {question.threads}")
        return SimpleNamespace(latents=())


def make_suite(kind="cuda", planned=None, subject=None):
    model = ResolvedModel("tiny", Path("tiny"), "0" * 64, "Pipeline", ())
    suite = Suite(WORKLOAD, model, NotedPool(kind), "auto", subject, cpu_threads=2)
    suite.planned = planned or PlannedReferences()
    return suite


def test_a_reference_on_the_cpu_comes_before_the_accelerator_is_loaded():
    suite = make_suite(planned=PlannedReferences(2, (("fp32", "torch"), ("bf16", "torch"))))
    suite.acquire("fp32", 1)
    assert suite.pool.noted == [
        "load fp32 cpu reference",
        *["record 2"] * RECORDED_IMAGES,
        "load fp32 auto",
    ]
    suite.pool.noted.clear()
    suite.acquire("bf16", 1)
    recorded = ["record 2"] * RECORDED_IMAGES
    assert suite.pool.noted == [*recorded, "draw 0", "draw 1", "load bf16 auto"]


def test_a_pipeline_that_is_its_own_reference_records_when_it_is_asked():
    suite = make_suite("cpu", PlannedReferences(0, (("fp32", "torch"),)))
    suite.acquire("fp32", 1)
    assert suite.pool.noted == ["load fp32 auto"]


def test_nothing_is_made_that_was_not_planned():
    suite = make_suite()
    suite.acquire("bf16", 1)
    assert suite.pool.noted == ["load bf16 auto"]
    assert list_reference_specs(suite) == set()


def test_an_unplanned_picture_is_drawn_alone():
    suite = make_suite(planned=PlannedReferences(2))
    fetch_plain(suite, WORKLOAD.image(5))
    assert suite.pool.noted == ["load fp32 auto", "draw 5"]


def test_a_side_that_is_not_compared_with_fp32_makes_none():
    suite = make_suite(planned=PlannedReferences(2, (("bf16", "torch"),)))
    suite.compares_with_fp32 = False
    suite.make_references(Variant("bf16"))
    assert suite.pool.noted == []


@pytest.mark.parametrize(
    ("error", "missing"),
    [(GenerationError("the pipeline failed"), {1}), (WorkerError("a worker died"), {1, 2})],
)
def test_what_fp32_cannot_draw_is_left_out_and_not_tried_again(error, missing):
    suite = make_suite(planned=PlannedReferences(3))
    suite.pool.fails[1] = error
    suite.make_references(Variant("bf16"))
    absent = {image.seed for image, png in suite.images.plain.items() if png is None}
    assert absent == missing
    drawn = list(suite.pool.noted)
    suite.make_references(Variant("bf16"))
    assert suite.pool.noted == drawn


@pytest.mark.parametrize(("budget_s", "count"), [(0.0, 1), (1e9, RECORDED_IMAGES)])
def test_as_many_pictures_are_recorded_as_there_is_time_for(monkeypatch, budget_s, count):
    monkeypatch.setattr("sdperf.run.pictures.references.RECORDING_BUDGET_S", budget_s)
    suite = make_suite("cpu")
    source = choose_reference(suite, "bf16", "torch")
    made = make_recordings(suite, source)
    assert [image for image, _ in made] == [suite.workload.image(index) for index in range(count)]
    monkeypatch.setattr("sdperf.run.pictures.references.RECORDING_BUDGET_S", 0.0)
    assert make_recordings(suite, source) == made  # what is there costs nothing


def test_a_recording_that_failed_says_so_each_time_and_is_tried_once():
    suite = make_suite(planned=PlannedReferences(0, (("bf16", "torch"),)))
    refused = GenerationError("it cannot be asked this")

    def refuse(question):
        suite.pool.noted.append("record")
        raise refused

    suite.pool.ask = refuse
    suite.acquire("bf16", 1)
    assert suite.pool.loaded.precision == "bf16"
    for _ in range(2):
        with contextlib.suppress(GenerationError):
            make_recording(suite, *next(iter(suite.images.recordings)))
            pytest.fail("it has to be said")
    assert suite.pool.noted.count("record") == 1


def test_the_references_of_a_subject_are_two_pipelines():
    suite = make_suite(planned=PlannedReferences(1, (("bf16", "torch"),)), subject="mine:build")
    assert list_reference_specs(suite) == {
        suite.make_spec("fp32"),
        WorkerSpec(suite.model, "fp32", "auto"),
    }


def test_nan_in_an_fp32_picture_is_kept_for_the_cases_that_take_it_over():
    suite = make_suite()
    suite.pool.nonfinite = True
    image = WORKLOAD.image(0)
    fetch_plain(suite, image)
    assert suite.images.find_made("fp32", "torch", image).nonfinite


def test_a_reference_that_cannot_be_drawn_is_one_short_warning(monkeypatch):
    records = []
    monkeypatch.setattr(references._log, "handle", records.append)
    suite = make_suite()

    def fail(*_):
        raise UnsupportedError("it cannot be drawn " + 30 * "here ", got="x" * 500, hint="y")

    monkeypatch.setattr(suite.pool, "acquire", fail)
    fetch_plain(suite, WORKLOAD.image(0))
    (said,) = (one.getMessage() for one in records if one.levelname == "WARNING")
    assert said.startswith("no fp32 sync image: it cannot be drawn")
    assert len(said) <= 60


GIB = 2**30


def make_large(total_bytes, native=("fp32", "fp16", "bf16"), **changes):
    """A model of 5 billion weights on a GPU: 18.6 GiB in fp32, half of that in 16 bits."""
    suite = make_suite(planned=PlannedReferences(2, (("bf16", "torch"), ("fp16", "torch"))))
    model = dataclasses.replace(suite.model, weights=5 * 10**9)
    suite = dataclasses.replace(suite, model=model, **changes)
    suite.pool.describe_device = lambda _: DeviceInfo("cuda", "", native, 1, total_bytes)
    suite.pool.collect_environment = lambda _: SimpleNamespace(ram_bytes=64 * GIB)
    return suite


@pytest.mark.parametrize(
    ("total_gib", "native", "asked", "precision"),
    [
        (24, ("fp32", "fp16", "bf16"), (), "fp32"),
        (16, ("fp32", "fp16", "bf16"), (), "bf16"),
        (16, ("fp32", "fp16"), (), "fp16"),
        (16, ("fp32", "fp16", "bf16"), ("fp32", "fp16"), "fp32"),  # named: loaded whatever it takes
        (16, ("fp32", "fp16", "bf16"), ("fp16",), "bf16"),
        (4, ("fp32", "fp16", "bf16"), (), "fp16"),
    ],
)
def test_the_reference_is_the_widest_precision_that_fits(total_gib, native, asked, precision):
    suite = make_large(total_gib * GIB, native, asked_precisions=asked)
    assert suite.reference_precision == precision
    assert suite.is_reference(Variant(precision))
    assert not suite.is_reference(Variant(precision, mode="async"))


def test_a_model_whose_weights_nobody_knows_keeps_fp32():
    assert make_suite().reference_precision == "fp32"


def test_where_fp32_does_not_fit_it_is_never_loaded():
    suite = make_large(16 * GIB)
    suite.acquire("fp16", 1)
    recorded = ["record 2"] * RECORDED_IMAGES
    assert suite.pool.noted == [
        "load bf16 auto",
        *recorded,
        "draw 0",
        "draw 1",
        "load fp16 auto",
    ]
    assert {spec.precision for spec in list_reference_specs(suite)} == {"bf16"}
    assert choose_reference(suite, "fp16", "torch").words == "plain bf16 on the same cuda"


def test_the_widest_that_fits_has_no_reference_of_its_own():
    suite = make_large(16 * GIB)
    assert find_reference(suite, "bf16", "torch") is None
    with pytest.raises(UnsupportedError, match=r"no wider reference than bf16.*13\.6 GiB that may"):
        choose_reference(suite, "bf16", "torch")
    assert find_reference(suite, "bf16", "onnx").spec.precision == "bf16"


def test_pictures_are_scored_against_the_reference_by_its_name():
    suite = make_large(16 * GIB)
    image = suite.workload.image(0)
    png = encode_png(np.zeros((16, 16, 3), np.uint8))
    suite.images.plain[image] = png
    (record,) = record_images(suite, [(image, DeliveredImage(png, 0.0, nonfinite=False))])
    assert [one.against for one in record.scores] == ["bf16-sync"]


def test_a_subject_of_the_models_class_is_compared_with_the_model():
    suite = make_suite("cpu", subject="mine:make")
    suite.acquire("fp32", 1)
    found = find_reference(suite, "fp32", "torch")
    assert (found.words, found.spec.subject) == ("plain fp32 on the same cpu", None)


def test_a_subject_of_another_class_is_compared_with_itself():
    suite = make_suite("cpu", subject="mine:make")
    suite.pool.is_the_models = False
    suite.acquire("bf16", 1)
    found = {one: find_reference(suite, one, "torch") for one in ("fp32", "bf16")}
    assert {one.spec for one in found.values()} == {suite.make_spec("fp32")}
    assert found["bf16"].words == "the subject in fp32 on the same cpu"
    assert found["fp32"].words == "itself with 1 instead of 2 threads (A/A)"
    on_a_gpu = find_reference(make_foreign("cuda"), "fp32", "torch")
    assert (on_a_gpu.spec.device, on_a_gpu.spec.subject) == ("cpu", "mine:make")


def make_foreign(kind):
    suite = make_suite(kind, subject="mine:make")
    suite.pool.is_the_models = False
    suite.acquire("fp32", 1)
    return suite


def test_another_subject_is_asked_for_its_class_anew():
    suite = make_foreign("cpu")
    assert suite.is_own_reference
    suite.shipped = object()
    assert suite.pictures_of_the_model is None
    assert suite.with_changes(subject=None).pictures_of_the_model is suite.shipped
    assert not suite.with_changes(subject="other:make").is_own_reference
