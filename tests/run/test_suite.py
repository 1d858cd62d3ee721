"""What a session asks of its workers once, and not for every case."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdperf.errors import ConfigurationError, EngineError, SubjectError
from sdperf.measure.ledger import Ledger
from sdperf.models.loader import ResolvedModel
from sdperf.models.tasks.calls import describe_call
from sdperf.record.stages import PeakRate, StageTimes
from sdperf.record.workload import (
    DEFAULT_PICTURE_SHA256,
    InputPicture,
    ProgramFacts,
    Variant,
    Workload,
)
from sdperf.run.case import Case
from sdperf.run.messages import DeviceSpeed
from sdperf.run.pool import PoolRound
from sdperf.run.stock import Stock
from sdperf.run.suite import Suite

WORKLOAD = Workload("tiny", ("red apple", "house"), num_inference_steps=2, guidance_scale=5.0)


class NotedPool:
    """Answers like a pool, and notes what it was asked."""

    is_elsewhere = False
    cases = 0
    stock = Stock(lambda: None)

    def __init__(self):
        self.speeds = self.profiles = 0
        self.ledger = Ledger()

    def profile(self, request):
        self.profiles += 1
        return StageTimes(total_s=1.0, denoise_s=0.5)

    def count(self, request):
        return ()

    def measure_speed(self, request):
        self.speeds += 1
        return DeviceSpeed(PeakRate("fp32", 1e12, 64), 1e-6)


def make_suite(weights=None):
    model = ResolvedModel("tiny", Path("tiny"), "0" * 64, "Pipeline", (), weights=weights)
    return Suite(WORKLOAD, model, NotedPool(), "cpu", None, cpu_threads=2)


def test_the_device_is_measured_once_for_each_precision_and_thread_count():
    suite = make_suite()
    plain = Variant()
    for variant in (plain, dataclasses.replace(plain, optimisations=("compile",)), plain):
        assert suite.profiles.limits(suite, variant).peak.flop_per_s == 1e12
    assert (suite.pool.speeds, suite.pool.profiles) == (1, 2)
    suite.profiles.limits(suite, dataclasses.replace(plain, workers=2))  # of one thread each
    suite.profiles.limits(suite, dataclasses.replace(plain, precision="bf16"))
    assert suite.pool.speeds == 3


def test_a_variant_that_names_its_threads_has_them_and_others_divide_the_cores():
    suite = make_suite()
    for variant, threads in ((Variant(), 2), (Variant(workers=2), 1), (Variant(workers=4), 1)):
        assert suite.threads_for(variant) == threads
        assert suite.threads_for(dataclasses.replace(variant, threads=5)) == 5


@pytest.mark.parametrize(
    ("round_s", "images"),
    [(6.0, [[1, 1], [2, 2], [4], [1], [1]]), (4.0, [[4, 4], [4, 4], [8], [1], [8]])],
)
def test_a_watched_round_has_all_workers_and_few_images_where_all_take_long(
    monkeypatch, round_s, images
):
    suite, watched = make_suite(), []

    class Sampler:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def stop(self, images):
            return images

    def run(case, shares=None):
        watched.append(shares)
        made = [
            SimpleNamespace(images=[SimpleNamespace(png=b"") for _ in share]) for share in shares
        ]
        return PoolRound(round_s, tuple(made))

    suite.machine = type("Machine", (), {"watch": lambda self, apart: Sampler()})()
    monkeypatch.setattr(Case, "_run", run)
    for case in (
        Case(suite, "throughput", Variant(workers=2), batch=8),
        Case(suite, "throughput", Variant(mode="async", workers=2), batch=8),
        Case(suite, "throughput", Variant(optimisations=("batch4",)), batch=8),
        Case(suite, "latency", Variant()),
        Case(suite, "throughput", Variant(), batch=8),
    ):
        case._rounds.append(SimpleNamespace(duration_s=round_s))
        case._watch()
    assert [[len(share) for share in shares] for shares in watched] == images
    seeds = [[share[0].seed for share in shares] for shares in watched]
    assert seeds[-1][0] - seeds[2][0] == 8  # the plain loop goes on in the workload


def loaded(picture_call, program=None):
    report = SimpleNamespace(picture_call=picture_call, program=program)
    return SimpleNamespace(report=report)


def test_what_a_function_returned_is_known_from_its_first_load_on():
    suite = make_suite()
    suite.images.plain[WORKLOAD.image(0)] = b"drawn from the prompt alone"
    suite.settle_picture(loaded(None))
    assert suite.workload is WORKLOAD
    assert suite.images.plain
    call = describe_call("FluxImg2ImgPipeline", {"image": None, "strength": 0.6})
    for _ in range(2):
        suite.settle_picture(loaded(call))
        assert suite.workload.picture.strength == 0.6
        assert suite.workload.picture.arguments == ("image", "strength")
        assert not suite.images.plain


def test_a_worker_that_knows_no_pictures_is_not_measured_in_the_place_of_one_that_does():
    picture = InputPicture(DEFAULT_PICTURE_SHA256, task="image-to-image")
    suite = make_suite().with_changes(workload=dataclasses.replace(WORKLOAD, picture=picture))
    with pytest.raises(ConfigurationError, match="from the prompt alone"):
        suite.settle_picture(loaded(None))  # an older sdperf says nothing of it
    mine = ProgramFacts("mine", "1", "own", "cpu", accepts=("steps",))
    with pytest.raises(EngineError, match="the program mine draws from the prompt alone"):
        suite.settle_picture(loaded(None, mine))
    suite.settle_picture(loaded(None, dataclasses.replace(mine, accepts=("picture",))))
    assert suite.workload.picture == picture


def test_a_subject_without_its_function_is_imported_once_for_all_cases(monkeypatch):
    suite, asked = dataclasses.replace(make_suite(), subject="mine:nowhere"), []

    def acquire(spec, count, role=""):
        asked.append(spec.subject)
        raise SubjectError("the subject's module mine has no function nowhere")

    monkeypatch.setattr(suite.pool, "acquire", acquire, raising=False)
    for one in (suite, suite.with_changes(guards="off")):
        for precision in ("fp32", "bf16"):
            with pytest.raises(SubjectError, match="has no function nowhere"):
                one.acquire(precision, 1)
    assert asked == ["mine:nowhere"]
    with pytest.raises(SubjectError):
        suite.with_changes(subject="mine:other").acquire("fp32", 1)
    assert asked == ["mine:nowhere", "mine:other"], "another function may be there"
