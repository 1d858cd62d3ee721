"""The paired confirmation: what makes a winner, and everything that does not."""

import itertools
import shutil
from dataclasses import replace

import pytest
from sqlalchemy import make_url

from sdperf.ab.turns.view import SilentView
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.errors import GenerationError
from sdperf.report.markdown.tune import format_summary_markdown
from sdperf.report.text.tune import describe_winner, format_study
from sdperf.store.profile import parse_profile
from sdperf.tune.confirming import (
    FRESH_SEEDS,
    choose_fresh_seed,
    confirm,
    find_winner,
    list_candidates,
    read_confirmations,
)
from sdperf.tune.question.asking import make_profile
from sdperf.tune.question.question import StudyLimits
from sdperf.tune.study.opening import begin_study, find_study
from sdperf.tune.summary import format_summary_json, read_summary, summarise_study
from sdperf.tune.trial.tuning import draw_references, run_trials
from tests.support.ab_fakes import FakeBench
from tests.support.databases import known_tables, unhurried_storage
from tests.support.tune_fakes import DEFAULT, FakeRig, ask
from tests.tune.study.test_study import View

__all__ = ["known_tables", "unhurried_storage"]

SEARCH = {"steps": ["8", "12", "16"]}


def like(setting):
    """Images that are nearly the reference's, the more so with more steps."""
    return 0.1 * (20 - setting.num_inference_steps)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The file of a study with four trials, to copy: nothing but a confirmation changes it."""
    path = tmp_path_factory.mktemp("study") / "tune.db"
    study = begin_study(make_url(f"sqlite:///{path}"), "s", ask(search=SEARCH), "a machine")
    rig = FakeRig(noise=like)
    references = draw_references(study.question, rig)
    run_trials(study, rig, references, trials=4, sampler="tpe", seed=1, view=View())
    study.close()
    return path


@pytest.fixture
def study(database, tmp_path):
    path = shutil.copy(database, tmp_path / "tune.db")
    study = find_study(make_url(f"sqlite:///{path}"), "s")
    yield study
    study.close()


def bench(default=None, candidate=None):
    made = FakeBench()
    made.behaviours = {"default": default or {"seconds": 2.0}, "candidate": candidate or {}}
    return made


def measure(study, world, rig=None, **options):
    return confirm(
        study,
        rig or FakeRig(noise=like),
        world,
        CompareOptions(),
        view=View(),
        blocks_view=SilentView(),
        **options,
    )


def test_the_fastest_of_the_front_that_is_like_enough_comes_first(study):
    candidates = list_candidates(study.question, study.list_trials())
    assert [one.setting.num_inference_steps for one in candidates] == [8, 12, 16]


def test_what_beats_the_default_on_fresh_measurements_wins(study):
    (found,) = measure(study, bench(candidate={"seconds": 1.0}))
    assert (found.judgement, found.setting.num_inference_steps) == ("beats", 8)
    middle, least, most = found.speedup
    assert least < middle < most
    assert middle == pytest.approx(2.0)
    assert (found.default_s, found.seconds) == pytest.approx((1.0, 0.5))
    summary = summarise_study(study)
    assert summary.winner == found.number
    assert "2.00 times as fast as the default" in describe_winner(summary)
    profile = parse_profile(make_profile(summary))
    assert profile.num_inference_steps == 8
    assert profile.evidence["times_as_fast_as_the_default"] == 2.0


def test_images_and_seeds_are_fresh(study):
    seen = []
    rig = FakeRig(noise=like)
    draw = rig.draw

    def spy(workload, setting, images):
        seen.extend(image.seed for image in images)
        return draw(workload, setting, images)

    rig.draw = spy
    world = bench(candidate={"seconds": 1.0})
    measure(study, world, rig)
    assert set(seen) == {FRESH_SEEDS, FRESH_SEEDS + 1}
    assert choose_fresh_seed(2**62) == 2**62 - FRESH_SEEDS
    assert any("load" in line for line in world.journal)


def test_a_setting_that_is_not_faster_does_not_win(study):
    found = measure(study, bench({"seconds": 1.0}, {"seconds": 1.0}))
    assert {one.judgement for one in found} == {"not faster"}
    assert len(found) == 3
    summary = summarise_study(study)
    assert summary.winner is None
    assert make_profile(summary) is None
    assert "nothing that was found beat the default" in describe_winner(summary)


def test_a_setting_that_is_unlike_on_fresh_images_is_not_timed(study):
    world = bench(candidate={"seconds": 1.0})
    found = measure(
        study, world, FakeRig(noise=lambda setting: 0.0 if setting == DEFAULT else 90.0)
    )
    assert {one.judgement for one in found} == {"unlike"}
    assert not [line for line in world.journal if line.endswith("time")]


def test_the_next_of_the_front_has_its_chance_when_the_first_fails(study):
    def fail(setting):
        if setting.num_inference_steps == 8:
            raise GenerationError("the device ran out of memory")

    found = measure(study, bench(candidate={"seconds": 1.0}), FakeRig(noise=like, fails=fail))
    assert [(one.setting.num_inference_steps, one.judgement) for one in found] == [
        (8, "failed"),
        (12, "beats"),
    ]


def test_a_setting_has_one_chance(study):
    measure(study, bench({"seconds": 1.0}, {"seconds": 1.0}))
    before = read_confirmations(study)
    again = measure(study, bench(candidate={"seconds": 0.1}))
    assert again == before
    assert read_confirmations(find_study(study.url, "s")) == before


def test_a_machine_that_differs_from_itself_confirms_nothing_and_keeps_nothing(study):
    world = bench(candidate={"seconds": 1.0})
    world.second_a = {"seconds": 4.0}
    (found,) = measure(study, world)
    assert found.judgement == "void"
    assert read_confirmations(study) == []
    summary = summarise_study(study, [found])
    assert summary.winner is None
    assert "differs from itself" in describe_winner(summary)


def test_the_control_is_measured_once(study):
    world = bench({"seconds": 1.0}, {"seconds": 1.0})
    measure(study, world, most=2)
    closed = [line for line in world.journal if line.startswith("default") and "load" in line]
    assert len({line.split()[0] for line in closed}) == 3, "two sides A, and one control"


def test_limits_hold_on_fresh_measurements_too(tmp_path):
    limits = StudyLimits(min_ssim=0.5, max_seconds=1.5)
    study = begin_study(
        make_url(f"sqlite:///{tmp_path / 'l.db'}"), "s", ask(limits, SEARCH), "a machine"
    )
    rig = FakeRig(noise=like)
    references = draw_references(study.question, rig)
    run_trials(study, rig, references, trials=4, sampler="tpe", seed=1, view=View())
    found = measure(study, bench({"seconds": 20.0}, {"seconds": 4.0}))
    assert {one.judgement for one in found} == {"misses a limit"}
    study.close()


def test_the_error_is_shared_among_the_candidates(study):
    (found,) = measure(study, bench(candidate={"seconds": 1.0}), most=2)
    assert found.error == pytest.approx(CompareOptions().alpha / 2)


def test_noise_alone_wins_nothing(study):
    noise = itertools.cycle([1.0, 1.3, 0.8, 1.1, 0.9])
    found = measure(study, bench({"seconds": noise}, {"seconds": noise}))
    assert not [one for one in found if one.judgement == "beats"]


def test_a_summary_survives_its_file_and_is_shown(study, tmp_path):
    measure(study, bench(candidate={"seconds": 1.0}))
    summary = summarise_study(study)
    path = tmp_path / "tune.json"
    path.write_text(format_summary_json(summary))
    assert read_summary(path) == summary
    lines = [line.text for line in format_study(summary)]
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("study s: 4 trials (4 complete)") for line in lines)
    assert any("steps=8" in line for line in lines)
    markdown = format_summary_markdown(summary)
    assert "| 0 | 2.00 s | 1.00 | 1.0000 |" in markdown
    assert {one.host for one in summary.trials} == {"host 1"}, "no names of machines"
    assert find_winner([], summary.confirmations) is None


def test_trials_that_were_given_up_are_named_with_their_reasons_and_settings(study):
    summary = summarise_study(study)
    first, *others = summary.trials
    assert first.tried is not None
    reasons = ("too far from the reference", "out of memory", "out of memory")
    states = ("pruned", "infeasible", "infeasible")
    given_up = [
        replace(one, ending=state, tried=replace(first.tried, state=state, reason=reason))
        for one, state, reason in zip(others, states, reasons, strict=True)
    ]
    changed = replace(summary, trials=(first, *given_up), front=())
    shown = " ".join(" ".join(line.text for line in format_study(changed)).split())
    setting = given_up[0].setting.describe(summary.question.default)
    assert f"pruned #1: too far from the reference: {setting}" in shown
    assert "infeasible #2, #3: out of memory" in shown
