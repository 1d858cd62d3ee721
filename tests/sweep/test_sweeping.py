import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from sdperf.ab.sides.sides import MatrixCase, SideError
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.bisect.judging import LOOKS
from sdperf.errors import ConfigurationError, PackageError, RecordError
from sdperf.judging.doubts.plausibility import GATE
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import Variant
from sdperf.report.html.sweep import view_sweep
from sdperf.report.markdown.ab import parse_comparison
from sdperf.report.markdown.sweep import format_sweep_markdown
from sdperf.report.sweep import format_sweep_lines, list_words
from sdperf.sweep.state import FailedStep, SweepFolder
from sdperf.sweep.summary import format_sweep_json
from sdperf.sweep.sweeping import Sweep
from tests.support.bisecting import LATENCY, Machine, Planted
from tests.support.repositories import git
from tests.support.sweeping import (
    SweepListener,
    name_versions,
    run_sweep,
    summarise,
    sweep_question,
)

RESULTS = Path(__file__).parents[2] / "docs" / "results"
VERSIONS = name_versions(5)


def plant(versions=VERSIONS, **effects):
    """Give versions their effects, by number: what comes after has it too."""
    found, now = {}, Planted()
    for number, version in enumerate(versions, 1):
        now = effects.get(f"v{number}", now)
        found[version] = now
    return found


def steps_of(conclusion):
    (curve,) = summarise(conclusion).curves
    return {(one.before, one.after): one.found for one in curve.steps}


def test_a_planted_step_is_found_between_its_two_versions_and_nowhere_else(tmp_path):
    machine = Machine(plant(v3=Planted(slowdown=0.10)))
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    assert found.ending == "done"
    speeds = {names: step.speed for names, step in steps_of(found).items()}
    assert speeds == {
        ("1.0", "2.0"): "same",
        ("2.0", "3.0"): "slower",
        ("3.0", "4.0"): "same",
        ("4.0", "5.0"): "same",
    }
    (curve,) = summarise(found).curves
    (largest,) = curve.list_largest()
    assert largest.found.change_log == pytest.approx(math.log(1.1), abs=0.01)
    assert largest.found.lower_log < math.log(1.1) < largest.found.upper_log
    for point, true in zip(curve.points, (0, 0, 0.1, 0.1, 0.1), strict=True):
        assert point.change_log == pytest.approx(math.log1p(true), abs=0.01)
        assert point.seconds_per_image == pytest.approx(1 + true, rel=0.01)


def test_a_gain_is_told_as_surely_as_a_loss(tmp_path):
    """`sdperf ab` stops once a loss is excluded; a sweep goes on until a gain is told from none."""
    machine = Machine(plant(v4=Planted(slowdown=-0.08)), noise=0.01)
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    assert steps_of(found)["3.0", "4.0"].speed == "faster"
    assert all(options.is_two_sided for *_, options in machine.calls)
    one_sided = Machine(plant(v4=Planted(slowdown=-0.08)), noise=0.01)
    compare = one_sided.compare
    one_sided.compare = lambda a, b, cases, options: compare(
        a, b, cases, replace(options, is_two_sided=False, alpha=0.5)
    )
    hasty = run_sweep(tmp_path / "hasty", sweep_question(VERSIONS), one_sided)
    blocks = [len(step.contrasts) for step in steps_of(hasty).values()]
    assert max(blocks) < max(len(step.contrasts) for step in steps_of(found).values())


def test_memory_and_pictures_are_steps_too_in_both_directions(tmp_path):
    planted = plant(v2=Planted(grown_mib=200), v3=Planted(), v4=Planted(image=True))
    found = run_sweep(tmp_path, sweep_question(VERSIONS), Machine(planted))
    steps = steps_of(found)
    assert [step.memory for step in steps.values()] == ["more", "less", "same", "same"]
    assert [step.pictures for step in steps.values()] == ["equal", "equal", "changed", "equal"]
    (curve,) = summarise(found).curves
    assert {one.after for one in curve.list_largest_memory()} == {"2.0", "3.0"}
    assert [one.after for one in curve.list_changed_pictures()] == ["4.0"]
    assert curve.list_largest() == []


def test_a_gain_that_cannot_be_believed_is_no_step(tmp_path):
    """The comparison that finds pictures kept from one request to the next settles nothing."""

    def doubt(record):
        verdict = judge_comparison(record)
        finding = Finding(Outcome.INCONCLUSIVE, GATE, "work is skipped where it is timed")
        cases = tuple(replace(one, findings=(*one.findings, finding)) for one in verdict.cases)
        return replace(verdict, cases=cases)

    machine = Machine(plant(v3=Planted(slowdown=-0.5)))
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine, judge=doubt)
    assert {step.speed for step in steps_of(found).values()} == {"open"}
    notes = steps_of(found)["2.0", "3.0"].notes
    assert notes == ("work is skipped where it is timed",)


def test_what_cannot_be_settled_stays_open_and_says_so(tmp_path):
    machine = Machine(plant(v3=Planted(slowdown=0.03)), noise=0.03)
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    (curve,) = summarise(found).curves
    left = curve.list_open()
    assert ("2.0", "3.0") in {(one.before, one.after) for one in left}
    assert all(len(one.found.contrasts) == LOOKS[-1] for one in left)
    assert all(one.found.lower_log < one.found.upper_log for one in left)
    assert "no step in time beyond the limit was settled" in list_words(curve)


def test_the_null_control_comes_first_and_once_a_sitting_and_all_share_one_error(tmp_path):
    machine = Machine(plant())
    run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    controls = [options.null_control for *_, options in machine.calls]
    assert controls == [True, *([False] * 6)]
    assert sum(2 * options.alpha for *_, options in machine.calls) == pytest.approx(0.01)


def test_a_machine_that_differs_from_itself_ends_the_sweep_void(tmp_path):
    machine = Machine(plant())
    machine.drifts = True
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    assert (found.ending, found.state.pairs) == ("void", ())
    assert "differs from itself" in found.why
    machine.drifts = False
    assert run_sweep(tmp_path, sweep_question(VERSIONS), machine).ending == "done"


def test_a_version_that_cannot_be_run_is_a_point_with_its_reason(tmp_path):
    planted = plant() | {VERSIONS[2]: Planted(refuses=True)}
    found = run_sweep(tmp_path, sweep_question(VERSIONS), Machine(planted))
    assert found.ending == "done"
    (curve,) = summarise(found).curves
    assert [point.state for point in curve.points] == ["measured"] * 2 + ["failed"] + [
        "measured"
    ] * 2
    assert "does not import" in curve.points[2].reason
    assert ("2.0", "4.0") in steps_of(found)


def test_a_version_that_cannot_be_installed_is_a_point_and_no_network_ends_the_sweep(tmp_path):
    machine = Machine(plant())
    compare = machine.compare

    def refuse(error):
        def failing(base, step, cases, options):
            if step == VERSIONS[1]:
                raise error
            return compare(base, step, cases, options)

        return failing

    asked = sweep_question(VERSIONS)
    machine.compare = refuse(ConfigurationError("planted==2.0 cannot be downloaded"))
    with pytest.raises(ConfigurationError, match="downloaded"):
        run_sweep(tmp_path, asked, machine)
    machine.compare = refuse(PackageError("there is no planted==2.0"))
    found = run_sweep(tmp_path, asked, machine)
    assert found.state.reasons == {VERSIONS[1]: "there is no planted==2.0"}


def test_the_first_one_that_runs_is_the_anchor_but_a_named_one_has_to_run(tmp_path):
    planted = plant() | {VERSIONS[0]: Planted(refuses=True)}
    found = run_sweep(tmp_path, sweep_question(VERSIONS), Machine(planted))
    assert (found.ending, summarise(found).anchor) == ("done", "2.0")
    with pytest.raises(SideError, match="does not import"):
        run_sweep(tmp_path, sweep_question(VERSIONS, anchor=VERSIONS[0]), Machine(planted))


def test_a_version_that_ran_once_and_then_dies_costs_that_comparison_only(tmp_path):
    machine = Machine(plant())
    compare = machine.compare

    def dies(base, step, cases, options):
        if (base, step) == (VERSIONS[2], VERSIONS[3]):
            raise SideError("A", base, ConfigurationError("the worker died"))
        return compare(base, step, cases, options)

    machine.compare = dies
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    assert found.ending == "done"
    assert found.state.failed == ()
    (reason,) = [one.reason for one in found.state.pairs if one.reason]
    assert "the worker died" in reason
    (curve,) = summarise(found).curves
    assert [point.state for point in curve.points] == ["measured"] * 5
    assert [(one.before, one.after) for one in curve.list_open()] == [("3.0", "4.0")]


def test_a_comparison_with_the_anchor_that_failed_stands_at_its_point(tmp_path):
    machine = Machine(plant())
    compare = machine.compare

    def dies(base, step, cases, options):
        if base == VERSIONS[0] and step in (VERSIONS[1], VERSIONS[3]):
            raise SideError("B", step, ConfigurationError(f"the worker of {step} died"))
        return compare(base, step, cases, options)

    machine.compare = dies
    asked = sweep_question(VERSIONS, anchor=VERSIONS[0])
    run_sweep(tmp_path, asked, Machine(plant(), interrupt_at=2))  # 1.0 and 2.0 have run
    found = run_sweep(tmp_path, asked, machine)
    assert found.ending == "done"
    summary = summarise(found)
    assert summary.lost == 1
    point = json.loads(format_sweep_json(summary))["curves"][0]["points"][3]
    assert (point["name"], point["state"]) == ("4.0", "measured")
    assert point["reason"].endswith("the worker of planted==4.0 died")
    for text in (
        " ".join(line.text.strip() for line in format_sweep_lines(summary)),
        format_sweep_markdown(summary),
    ):
        assert "4.0 could not be compared with the anchor 1.0: " in text.replace("\\", "")
        assert text.replace("\\", "").count("the worker of planted==4.0 died") == 1
        assert "every comparison was made" not in text
        assert "5 of 5 versions measured, 1 comparison could not be made" in text
    page = view_sweep(summary, "s", lambda drawn, name: None)
    assert not page.is_done
    assert any("with the anchor" in text for text in page.failures)


def test_nothing_that_runs_is_an_ending_of_its_own(tmp_path):
    planted = dict.fromkeys(VERSIONS, Planted(refuses=True))
    found = run_sweep(tmp_path, sweep_question(VERSIONS), Machine(planted))
    assert found.ending == "nothing"
    assert len(found.state.failed) >= len(VERSIONS) - 1


@pytest.mark.parametrize("call", range(1, 8))
def test_a_sweep_that_was_interrupted_goes_on_where_it_was(tmp_path, call):
    asked = sweep_question(VERSIONS)
    stopped = run_sweep(tmp_path, asked, Machine(plant(), interrupt_at=call))
    assert stopped.ending == "interrupted"
    assert len(stopped.state.pairs) == call - 1
    machine = Machine(plant(), seed=1)
    found = run_sweep(tmp_path, asked, machine)
    assert found.ending == "done"
    assert len(machine.calls) == 7 - call + 1, "what was measured is measured again"
    assert machine.calls[0][-1].null_control, "each sitting tries the machine first"
    assert found.state.pairs[: call - 1] == stopped.state.pairs


class KilledError(BaseException):
    """What no code of ours expects, as little as a SIGKILL."""


@pytest.mark.parametrize("moment", ["before the state", "before the comparison", "in a comparison"])
@pytest.mark.parametrize("call", [1, 4])
def test_killed_at_any_moment_nothing_that_was_finished_is_lost(
    tmp_path, monkeypatch, moment, call
):
    asked = sweep_question(VERSIONS)
    machine = Machine(plant())
    name = {"before the state": "write", "before the comparison": "write_comparison"}.get(moment)
    calls = []

    def kill(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise KilledError
        return real(*arguments)

    if name is None:
        real = machine.compare
        machine.compare = kill
    else:
        real = getattr(SweepFolder, name)
        monkeypatch.setattr(SweepFolder, name, kill)
    with pytest.raises(KilledError):
        run_sweep(tmp_path, asked, machine)
    monkeypatch.undo()
    left = SweepFolder(tmp_path / "sweep", asked.key()).read()
    assert (0 if left is None else len(left.pairs)) == call - 1
    after = Machine(plant(), seed=2)
    found = run_sweep(tmp_path, asked, after)
    assert found.ending == "done"
    assert len(after.calls) == 7 - (call - 1)
    folder = SweepFolder(tmp_path / "sweep", asked.key())
    for record in found.state.pairs:
        assert folder.read_comparison(record.comparison).b.label == record.b


def test_a_kept_sweep_of_another_question_or_of_the_repository_is_refused(tmp_path):
    asked, other = sweep_question(VERSIONS), sweep_question(VERSIONS, every=2)
    found = run_sweep(tmp_path, other, Machine(plant()))
    folder = SweepFolder(tmp_path / "sweep", asked.key())
    folder.write(found.state)
    with pytest.raises(RecordError, match="another question"):
        folder.read()
    strange = replace(found.state.pairs[0], b="planted==9.9")
    folder.write(replace(found.state, question=asked, pairs=(strange,)))
    with pytest.raises(RecordError, match=r"planted==9\.9"):
        folder.read()
    folder.write(replace(found.state, question=asked))
    assert folder.read().pairs == found.state.pairs
    git(tmp_path, "init", "--quiet")
    assert folder.read() is not None
    git(tmp_path, "add", "--force", str(folder.path))
    with pytest.raises(ConfigurationError, match="came with the repository"):
        folder.read()


def test_a_place_that_a_repository_chose_by_a_link_is_refused_and_left_alone(tmp_path):
    asked = sweep_question(VERSIONS)
    elsewhere, repository = tmp_path / "elsewhere", tmp_path / "cloned"
    elsewhere.mkdir()
    (repository / ".sdperf").mkdir(parents=True)
    (repository / ".sdperf" / "sweep").symlink_to(elsewhere)
    folder = SweepFolder(repository / ".sdperf" / "sweep", asked.key())
    git(repository, "init", "--quiet")
    assert folder.read() is None  # a link of one's own leads to a larger disk
    git(repository, "add", "--force", ".sdperf/sweep")
    with pytest.raises(ConfigurationError, match="came with the repository") as refused:
        folder.read()
    assert "git rm --cached -- .sdperf/sweep, then rm -- .sdperf/sweep" in refused.value.hint
    with pytest.raises(ConfigurationError, match="came with the repository"), folder.locked():
        pass
    assert list(elsewhere.iterdir()) == []


def test_conflicts_that_pip_names_are_kept_and_told_once_for_all_versions(tmp_path):
    asked, clash = sweep_question(VERSIONS), "a 1 requires b<2, but you have b 3"
    named = {VERSIONS[1]: (clash,), VERSIONS[3]: (clash, "c 1 requires d, but you have e")}
    found = run_sweep(
        tmp_path, asked, Machine(plant()), list_conflicts=lambda step: named.get(step, ())
    )
    again = run_sweep(tmp_path, asked, Machine(plant()))  # finished: nothing is asked of pip
    assert found.state.conflicts == again.state.conflicts == named
    told = " ".join(" ".join(line.text for line in format_sweep_lines(summarise(again))).split())
    assert told.count(clash) == 1
    assert f"pip names a conflict with 2.0, 4.0: {clash}" in told
    assert "pip names a conflict with 4.0: c 1 requires d" in told
    assert "c 1 requires d, but you have e" in format_sweep_markdown(summarise(again))
    strange = replace(found.state, conflicts={"planted==9.9": (clash,)})
    folder = SweepFolder(tmp_path / "sweep", asked.key())
    folder.write(strange)
    with pytest.raises(RecordError, match=r"planted==9\.9"):
        folder.read()


def test_no_comparison_begins_after_the_budget_nor_one_that_would_end_after_it(tmp_path):
    asked = sweep_question(VERSIONS)
    now = [0.0]
    machine = Machine(plant())
    compare = machine.compare

    def slow(*arguments):
        now[0] += 100.0
        return compare(*arguments)

    machine.compare = slow
    found = run_sweep(tmp_path, asked, machine, budget_s=350.0, clock=lambda: now[0])
    assert (found.ending, len(found.state.pairs)) == ("budget", 3)
    summary = summarise(found)
    assert summary.left == 4
    assert [point.state for point in summary.curves[0].points] == ["measured"] * 3 + ["open"] * 2
    found = run_sweep(tmp_path, asked, machine, budget_s=1e6, clock=lambda: now[0])
    assert (found.ending, len(found.state.pairs)) == ("done", 7)


def test_an_attempt_that_failed_says_nothing_of_how_long_a_comparison_takes(tmp_path):
    versions = name_versions(6)
    refusing = dict.fromkeys(versions[1:4], Planted(refuses=True))
    machine = Machine(plant(versions) | refusing)
    now = [0.0]
    compare = machine.compare

    def slow(base, step, cases, options):
        now[0] += 1.0 if step in refusing else 100.0
        return compare(base, step, cases, options)

    machine.compare = slow
    asked = sweep_question(versions)
    found = run_sweep(tmp_path, asked, machine, budget_s=150.0, clock=lambda: now[0])
    assert (found.ending, len(found.state.failed), len(found.state.pairs)) == ("budget", 3, 1)


def test_versions_between_are_measured_where_something_happened(tmp_path):
    versions = name_versions(7)
    planted = plant(versions, v5=Planted(slowdown=0.2))
    asked = sweep_question(versions, every=3, is_dense=True)
    found = run_sweep(tmp_path, asked, Machine(planted))
    assert found.ending == "done"
    speeds = {names: step.speed for names, step in steps_of(found).items()}
    assert speeds == {
        ("1.0", "4.0"): "same",
        ("4.0", "5.0"): "slower",
        ("5.0", "6.0"): "same",
        ("6.0", "7.0"): "same",
    }


def test_several_cases_have_a_curve_each(tmp_path):
    fp16 = MatrixCase(variant=Variant(precision="fp16"))
    planted = plant()
    own = {(fp16.id, VERSIONS[number]): Planted(slowdown=0.2) for number in (2, 3, 4)}
    asked = sweep_question(VERSIONS, cases=(LATENCY, fp16))
    found = run_sweep(tmp_path, asked, Machine(planted, own=own))
    summary = summarise(found)
    assert [[one.after for one in curve.list_largest()] for curve in summary.curves] == [
        [],
        ["3.0"],
    ]


def test_another_question_begins_anew():
    asked = sweep_question(VERSIONS)
    keys = {
        asked.key(),
        sweep_question(VERSIONS[:4]).key(),
        sweep_question(VERSIONS, every=2).key(),
        sweep_question(VERSIONS, every=2, is_dense=True).key(),
        sweep_question(VERSIONS, anchor=VERSIONS[1]).key(),
        replace(asked, companions=("torch==2.13.0",)).key(),
        replace(asked, software={"torch": "2.14.1"}).key(),
        replace(asked, options=replace(asked.options, max_slowdown=0.05)).key(),
    }
    assert len(keys) == 8
    assert sweep_question(VERSIONS).key() == asked.key()


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path):
    asked = sweep_question(VERSIONS)
    run_sweep(tmp_path, asked, Machine(plant()))
    path = tmp_path / "sweep" / f"{asked.key()}.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(RecordError, match=r"the sweep kept in .*--no-resume"):
        run_sweep(tmp_path, asked, Machine({}))


def test_what_happens_is_told(tmp_path):
    listener = SweepListener()
    planted = plant() | {VERSIONS[2]: Planted(refuses=True)}
    run_sweep(tmp_path, sweep_question(VERSIONS), Machine(planted), teller=listener)
    assert [number for _, number, _ in listener.begun] == [1, 2, 2, 3, 4, 5]
    assert [left for *_, left in listener.begun] == [7, 6, 4, 3, 2, 1]
    assert sum(isinstance(one, FailedStep) for one in listener.ended) == 1


def read_recorded_noise():
    """Read what a real, shared machine did to twelve blocks of two versions, three in a row.

    Their mean, which is what the versions differ by, is taken out.
    """
    text = (RESULTS / "ab-torch-2.13-2.14.json").read_text(encoding="utf-8")
    (case,) = judge_comparison(parse_comparison(text)).cases
    contrasts = case.case.contrasts
    mean = sum(contrasts) / len(contrasts)
    centred = [one - mean for one in contrasts]
    return [tuple(centred[place : place + 3]) for place in range(0, len(centred), 3)]


@pytest.mark.parametrize("noise", ["recorded", "quiet"])
def test_among_copies_of_one_version_no_step_is_found(tmp_path, noise):
    """Forty neighbours that are the same, on noise that a machine really had, ten times over."""
    versions = name_versions(41)
    asked = sweep_question(versions)
    steps = dict.fromkeys(versions, Planted())
    recorded = read_recorded_noise() if noise == "recorded" else ()
    false, settled = 0, 0
    for seed in range(10):
        machine = Machine(steps, seed=seed, recorded=recorded)
        found = Sweep(asked, machine, KeepsNothing(), SweepListener()).run()
        for record in found.state.pairs:
            speeds = [case.speed for case in record.cases]
            false += sum(speed in ("slower", "faster") for speed in speeds)
            settled += speeds.count("same")
    assert false == 0
    assert settled > 0 or noise == "recorded"


def test_a_large_step_is_found_on_that_noise_too(tmp_path):
    """The test above can fail: what is no copy is found on the same noise."""
    versions = name_versions(8)
    planted = plant(versions, v4=Planted(slowdown=0.6))
    machine = Machine(planted, seed=1, recorded=read_recorded_noise())
    found = run_sweep(tmp_path, sweep_question(versions), machine)
    (curve,) = summarise(found).curves
    assert [one.after for one in curve.list_largest()] == ["4.0"]


class KeepsNothing:
    """A folder that writes nothing: forty comparisons ten times over are many files."""

    def read(self):
        return None

    def write(self, state):
        json.dumps(len(state.pairs))

    def write_comparison(self, name, compared):
        return f"{name}.json"


def test_an_untimed_sweep_makes_no_block_and_no_control_and_tells_memory_and_pictures(tmp_path):
    machine = Machine(plant(v2=Planted(slowdown=0.3, grown_mib=300), v4=Planted(image=True)))
    asked = sweep_question(VERSIONS, options=CompareOptions(budget_s=0.0))
    found = run_sweep(tmp_path, asked, machine)
    assert found.ending == "done"
    steps = steps_of(found)
    assert {step.memory for step in steps.values()} >= {"more", "same"}
    assert steps["1.0", "2.0"].memory == "more"
    assert steps["3.0", "4.0"].pictures == "changed"
    assert all(step.is_untimed for step in steps.values())
    for *_, options in machine.calls:
        assert not options.is_timed
        assert not options.null_control
        assert not options.stages
    text = "\n".join(line.text for line in format_sweep_lines(summarise(found)))
    assert "no image was timed" in text
    assert "memory and pictures are compared without a test" in text
    assert "not settled" not in text
    assert "false step" not in text


def test_a_timed_sweep_is_controlled_once_and_says_its_error(tmp_path):
    machine = Machine(plant())
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    assert [options.null_control for *_, options in machine.calls].count(True) == 1
    text = "\n".join(line.text for line in format_sweep_lines(summarise(found)))
    assert "false step" in text
    assert "no image was timed" not in text
