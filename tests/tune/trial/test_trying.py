import contextlib
import dataclasses
import itertools

import pytest

from sdperf.errors import GenerationError, ImageError, RecordError, WorkerError
from sdperf.record.json import format_record, parse_record
from sdperf.record.workload import Workload
from sdperf.report.text.tune import describe_tried
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.pool import WorkerPool
from sdperf.tune.question.question import BROKEN, StudyLimits
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.front import Point
from sdperf.tune.trial.rig import LiveRig
from sdperf.tune.trial.trying import (
    FEWEST_ROUNDS,
    MOST_ROUNDS,
    Tried,
    is_settled,
    try_setting,
)
from sdperf.tune.trial.tuning import draw_references
from tests.support import deviating_subjects
from tests.support.tiny_pipelines import resolve, tiny_folder
from tests.support.tune_fakes import DEFAULT, FLAT, FakeRig, ask

__all__ = ["tiny_folder"]

FEW = dataclasses.replace(DEFAULT, num_inference_steps=10)


def attempt(rig, setting=FEW, limits=None, rivals=(), **options):
    question = ask(limits)
    references = draw_references(question, FakeRig())
    return try_setting(question, setting, rig, references, rivals, **options)


def test_a_setting_is_drawn_scored_and_timed():
    rig = FakeRig()
    tried = attempt(rig)
    assert tried.state == "complete"
    assert tried.seconds == pytest.approx(1.0)
    assert len(tried.rounds_s) == FEWEST_ROUNDS
    assert 0.2 < tried.fidelity.ssim < 0.99
    assert tried.fidelity.ssim <= tried.fidelity.mean_ssim
    assert tried.memory_bytes == 2**30
    assert tried.point == Point(tried.seconds, tried.fidelity.ssim)
    assert tried.thumbnail


def test_the_reference_itself_is_identical():
    tried = attempt(FakeRig(), DEFAULT)
    assert (tried.fidelity.ssim, tried.fidelity.psnr_db) == (1.0, None)


def test_rounds_go_on_where_they_scatter():
    seconds = iter([1.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    tried = attempt(FakeRig(seconds=lambda _: next(seconds)))
    assert len(tried.rounds_s) == MOST_ROUNDS
    assert not is_settled([1.0, 2.0, 1.0, 2.0])
    assert is_settled([1.0, 1.01, 0.99, 1.0])
    assert not is_settled([1.0, 1.0])


def test_a_floor_that_the_first_images_miss_ends_it():
    rig = FakeRig()
    tried = attempt(rig, limits=StudyLimits(min_ssim=0.99))
    assert tried.state == "pruned"
    assert "ssim" in tried.reason
    assert tried.violations["ssim"] > 0
    assert rig.rounds_of(FEW) == 1
    assert tried.point is None


@pytest.mark.parametrize(
    ("limits", "missed"),
    [
        (StudyLimits(min_tile_ssim=0.99), "tile"),
        (StudyLimits(min_psnr_db=60.0), "psnr"),
        (StudyLimits(max_entropy_drop_bits=-5.0), "entropy"),
        (StudyLimits(max_seconds=0.1), "seconds"),
        (StudyLimits(max_memory_bytes=2**20), "memory"),
    ],
)
def test_every_limit_is_held(limits, missed):
    tried = attempt(FakeRig(), limits=limits)
    assert tried.state == "pruned"
    assert tried.violations[missed] > 0
    assert attempt(FakeRig(), limits=limits, may_prune=False).violations[missed] > 0


def test_a_setting_behind_the_front_is_given_up_at_its_first_image():
    rig = FakeRig()
    tried = attempt(rig, rivals=[Point(0.3, 0.999)])
    assert tried.state == "pruned"
    assert rig.rounds_of(FEW) == 1
    near = attempt(FakeRig(), rivals=[Point(0.95, 0.999)])
    assert near.state == "complete", "what is behind by less than noise is measured"
    unlike = attempt(FakeRig(), rivals=[Point(0.3, 0.1)])
    assert unlike.state == "complete", "a rival that is less alike does not count"


def test_a_trial_that_was_given_up_tells_its_figures_once():
    at_once = describe_tried(attempt(FakeRig(), rivals=[Point(0.3, 0.999)]))
    assert at_once.endswith(", 1.00 s an image at first, one as good takes 300 ms")
    rounds = describe_tried(attempt(FakeRig(), rivals=[Point(0.8, 0.999)]))
    assert rounds.startswith("pruned: 1.00 s an image, SSIM ")
    assert rounds.endswith(", one as good takes 800 ms")
    assert at_once.count("an image") == rounds.count("an image") == 1
    limits = StudyLimits(max_seconds=5.0)
    unlike = describe_tried(attempt(FakeRig(), limits=limits, rivals=[Point(4.9, 0.999)]))
    assert unlike.endswith(", another setting is at SSIM 0.9990")
    assert unlike.count("SSIM") == 2


def test_with_a_floor_only_seconds_count():
    tried = attempt(FakeRig(), limits=StudyLimits(min_ssim=0.1), rivals=[Point(0.3, 0.11)])
    assert tried.state == "pruned"
    assert tried.violations["ssim"] <= 0


def test_with_a_time_only_likeness_counts():
    limits = StudyLimits(max_seconds=5.0)
    assert attempt(FakeRig(), limits=limits, rivals=[Point(4.9, 0.999)]).state == "pruned"
    assert attempt(FakeRig(), limits=limits, rivals=[Point(0.1, 0.1)]).state == "complete"


def test_the_default_is_never_given_up():
    assert attempt(FakeRig(), rivals=[Point(0.01, 1.0)], may_prune=False).state == "complete"


def raising(error):
    def fail(setting):
        raise error

    return fail


@pytest.mark.parametrize(
    "rig",
    [
        FakeRig(fails=raising(GenerationError("the device ran out of memory"))),
        FakeRig(fails=raising(WorkerError("a worker died during a generation"))),
        FakeRig(pixels=lambda _: FLAT),
        FakeRig(pixels=lambda _: FLAT[:32]),
    ],
    ids=["out of memory", "killed", "flat", "another size"],
)
def test_what_gives_no_image_is_infeasible_with_its_reason(rig):
    tried = attempt(rig)
    assert tried.state == "infeasible"
    assert tried.reason
    assert tried.violations[BROKEN] > 0
    assert tried.point is None
    assert rig.journal[-1] == ("close", None), "a process that failed is not used again"


def test_nan_is_infeasible():
    rig = FakeRig()
    rig.nonfinite = True
    assert "NaN" in attempt(rig).reason


def test_optimisations_that_do_not_go_together_are_infeasible_unloaded():
    rig = FakeRig()
    tried = attempt(rig, dataclasses.replace(FEW, optimisations=("step_cache2",)))
    assert tried.state == "infeasible"
    assert "do not go together" in tried.reason
    assert ("load", FEW) not in rig.journal


def test_what_goes_wrong_is_told_with_the_options_of_the_command():
    def fail(setting):
        raise GenerationError("out of memory", hint="a smaller --sd-size")

    tried = attempt(FakeRig(fails=fail), spell=lambda error: f"as typed: {error.hint}")
    assert tried.reason == "as typed: a smaller --sd-size"


def test_other_work_than_asked_is_no_gain_and_both_values_are_said(tiny_folder):
    """A real worker in this process, whose subject does in every way other work."""
    folder = tiny_folder("sd")
    workload = Workload("tiny", ("red apple",), 4, 5.0, height=32, width=32)
    setting = TrialSetting(4, 5.0, precision="fp32", optimisations=("channels_last",))
    question = dataclasses.replace(ask(workload=workload, default=setting))

    def make_rig(subject):
        pool = WorkerPool(host_factory=InProcessHost, timeout_s=120)
        return LiveRig(resolve(folder), "cpu", subject, 1, pool)

    with contextlib.closing(make_rig(None)) as rig:
        references = draw_references(question, rig)
        assert try_setting(question, setting, rig, references, ()).state == "complete"
    subject = f"{deviating_subjects.__name__}:everything"
    with contextlib.closing(make_rig(subject)) as rig:
        tried = try_setting(question, setting, rig, references, ())
        assert tried.state == "infeasible"
        assert tried.point is None
        assert tried.violations[BROKEN] > 0
        for words in deviating_subjects.EVERYTHING:
            assert words in tried.reason
        with pytest.raises(ImageError, match="nothing can be held to them") as refused:
            draw_references(question, rig)
        for words in deviating_subjects.EVERYTHING[:4]:
            assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(("seconds", "rounds_s"), (0.0, -5.0, 1e308)),
        *itertools.product(("start_s", "conversion_s"), (-5.0, 1e308)),
    ],
)
def test_a_recorded_time_that_no_measurement_gives_is_refused(name, value):
    kept = format_record(Tried("complete", 1.0, (1.0,), start_s=2.0, conversion_s=3.0))
    assert parse_record(Tried, kept).seconds == 1.0
    kept[name] = [value] if name == "rounds_s" else value
    with pytest.raises(RecordError, match=f"a {name} that no measurement gives"):
        parse_record(Tried, kept)


@pytest.mark.parametrize("value", [-5, 2**70])
def test_a_recorded_memory_that_no_machine_has_is_refused(value):
    kept = format_record(Tried("complete", 1.0, (1.0,), memory_bytes=0))
    assert parse_record(Tried, kept).memory_bytes == 0
    with pytest.raises(RecordError, match="a memory_bytes that no measurement gives"):
        parse_record(Tried, kept | {"memory_bytes": value})
