import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.ab.sides.sides import MatrixCase, SideError
from sdperf.bisect.judging import LOOKS, Target, spend_alpha
from sdperf.bisect.search import History, make_chain
from sdperf.bisect.searching import Bisection, count_tests, order_cases
from sdperf.bisect.state import StateFolder
from sdperf.errors import ConfigurationError, PackageError, RecordError
from sdperf.record.workload import Variant
from tests.support.bisecting import Listener, Machine, Planted, plant, question

SLOW = Planted(slowdown=0.10)
FP16 = MatrixCase(variant=Variant(precision="fp16"))


@pytest.fixture
def search(tmp_path):
    """Return a function that asks a question of a machine, in one folder."""

    def run(asked, machine, **changes):
        folder = StateFolder(tmp_path / "bisect", asked.key())
        bisection = Bisection(asked, machine, folder, changes.pop("teller", Listener()), **changes)
        return bisection.run()

    return run


@pytest.mark.parametrize("culprit", ["c00", "c01", "c07", "c14", "c15"])
def test_a_planted_slow_commit_is_found_among_sixteen(search, culprit):
    asked = question()
    machine = Machine(plant(asked, culprit, SLOW))
    found = search(asked, machine)
    assert (found.ending, found.standing.first_bad) == ("found", culprit)
    assert len(found.state.steps) <= 4
    for record in found.state.steps:
        (case,) = record.cases
        assert case.lower_log < case.change_log < case.upper_log
        assert (record.answer == "bad") == (record.step >= culprit)


def test_the_ends_are_compared_first_with_the_null_control_and_only_there(search):
    asked = question()
    machine = Machine(plant(asked, "c05", SLOW))
    search(asked, machine)
    (base, step, _, first), *rest = machine.calls
    assert (base, step) == ("good", "c15")
    assert first.null_control
    assert not any(options.null_control for *_, options in rest)
    assert all(options.looks == LOOKS for *_, options in machine.calls)


def test_the_error_is_divided_by_all_tests_and_the_border_lies_halfway(search):
    asked = question()
    machine = Machine(plant(asked, "c05", SLOW), noise=0.001)
    search(asked, machine)
    assert count_tests(asked) == 4
    for *_, options in machine.calls[:-1]:
        assert options.alpha == pytest.approx(0.01 / 6)
    (*_, first), *rest = machine.calls
    assert first.max_slowdown == 0.03
    for *_, options in rest:
        assert options.max_slowdown == pytest.approx(1.10**0.5 - 1, abs=0.003)


def test_a_small_loss_is_searched_at_the_limit_not_below():
    target = Target("case", "speed", 0.04)
    assert target.limit_log(0.03) == pytest.approx(0.0296, abs=1e-4)
    assert Target("case", "speed", 0.2).limit_log(0.03) == pytest.approx(0.1)


@given(planned=st.integers(0, 12), alpha=st.floats(1e-4, 0.1))
def test_however_many_tests_there_are_they_spend_less_than_was_given(planned, alpha):
    spent = [spend_alpha(alpha, planned, done) for done in range(planned + 60)]
    assert sum(spent) <= alpha * (1 + 1e-12)
    assert spent[: planned + 1] == [alpha / (planned + 2)] * (planned + 1)
    assert all(share > 0 for share in spent)


def test_an_image_change_is_found_without_timing_anything(search):
    asked = question()
    machine = Machine(plant(asked, "c11", Planted(image=True)))
    found = search(asked, machine)
    assert (found.ending, found.standing.first_bad) == ("found", "c11")
    (*_, first), *rest = machine.calls
    assert first.budget_s is None
    assert all(options.budget_s == 0.0 for *_, options in rest)
    assert not any(options.stages for *_, options in rest)


def test_what_needs_no_clock_is_not_timed_at_the_ends_either(search):
    asked = question(aspects=("image", "memory"))
    machine = Machine(plant(asked, "c11", Planted(image=True)))
    assert search(asked, machine).standing.first_bad == "c11"
    assert all(options.budget_s == 0.0 for *_, options in machine.calls)
    assert not any(options.null_control for *_, options in machine.calls)


def test_a_grown_memory_is_found(search):
    asked = question()
    machine = Machine(plant(asked, "c02", Planted(grown_mib=100), Planted(grown_mib=20)))
    found = search(asked, machine)
    assert (found.ending, found.standing.first_bad) == ("found", "c02")
    assert found.state.targets[0].size == 100 * 2**20


def test_what_was_not_asked_for_does_not_count(search):
    asked = question(aspects=("speed",))
    steps = plant(asked, "c09", SLOW)
    steps = {
        name: replace(step, image=name >= "c03", grown_mib=200 if name >= "c04" else 0)
        for name, step in steps.items()
    }
    assert search(asked, Machine(steps)).standing.first_bad == "c09"
    anything = question()
    assert search(anything, Machine(steps)).standing.first_bad == "c03"


def test_what_is_worse_only_in_between_does_not_lead_astray(search):
    asked = question()
    steps = plant(asked, "c12", SLOW)
    for name in ("c06", "c07", "c08"):
        steps[name] = replace(steps[name], image=True)
    assert search(asked, Machine(steps)).standing.first_bad == "c12"


def test_nothing_to_find_is_said_after_one_comparison(search):
    asked = question()
    machine = Machine(plant(asked, "c00", Planted()))
    found = search(asked, machine)
    assert found.ending == "nothing"
    assert len(machine.calls) == 1


def test_ends_that_cannot_be_told_apart_are_no_answer(search):
    asked = question()
    machine = Machine(plant(asked, "c00", Planted(slowdown=0.03)), noise=0.02)
    found = search(asked, machine)
    assert found.ending == "undecided"
    assert len(machine.calls) == 1


def test_a_machine_that_is_unfit_says_nothing_and_keeps_nothing(search):
    asked = question()
    machine = Machine(plant(asked, "c05", SLOW))
    machine.drifts = True
    found = search(asked, machine)
    assert (found.ending, found.why[:13]) == ("void", "the same code")
    assert found.state.end is None
    machine.drifts = False
    assert search(asked, machine).standing.first_bad == "c05"


def test_commits_that_do_not_import_are_skipped(search):
    asked = question()
    steps = plant(asked, "c09", SLOW)
    steps["c07"] = Planted(refuses=True)
    found = search(asked, Machine(steps))
    assert (found.ending, found.standing.first_bad) == ("found", "c09")
    (skipped,) = [record for record in found.state.steps if record.answer == "skipped"]
    assert skipped.step == "c07"
    assert "does not import" in skipped.reason


def test_the_range_is_named_where_the_culprit_cannot_be_tested(search):
    asked = question()
    steps = plant(asked, "c08", SLOW)
    for name in ("c07", "c08", "c09"):
        steps[name] = Planted(refuses=True)
    found = search(asked, Machine(steps))
    assert found.ending == "range"
    assert found.standing.suspects == ("c07", "c08", "c09", "c10")
    assert found.standing.first_bad is None


def test_an_open_step_leaves_a_range_rather_than_a_guess(search):
    asked = question()
    steps = plant(asked, "c08", SLOW)
    steps["c07"] = Planted(slowdown=0.047)
    found = search(asked, Machine(steps, noise=0.015))
    records = {record.step: record for record in found.state.steps}
    assert records["c07"].answer == "open"
    assert records["c07"].cases[0].blocks == LOOKS[-1], "it was not given more blocks"
    assert found.ending == "range"
    assert {"c07", "c08"} <= set(found.standing.suspects)


def test_a_second_open_step_ends_the_search(search):
    asked = question()
    steps = plant(asked, "c08", Planted(slowdown=0.2))
    for name in ("c03", "c04", "c05", "c06", "c07", "c09", "c10", "c11", "c12"):
        steps[name] = Planted(slowdown=0.08)
    found = search(asked, Machine(steps, noise=0.02))
    assert [record.answer for record in found.state.steps].count("open") == 2
    assert found.state.steps[-1].answer == "open"
    assert (found.ending, "c08" in found.standing.suspects) == ("range", True)


def test_an_end_that_cannot_be_measured_is_an_error(search):
    asked = question()
    steps = plant(asked, "c08", SLOW)
    with pytest.raises(SideError, match="side B"):
        search(asked, Machine({**steps, "c15": Planted(refuses=True)}))
    machine = Machine(steps)
    machine.steps["good"] = Planted(refuses=True)
    with pytest.raises(SideError, match="side A"):
        search(asked, machine)


def test_a_version_that_cannot_be_installed_is_skipped_but_no_network_is_an_error(search):
    asked = question(make_chain(["v1", "v2", "v3"]), kind="packages")
    machine = Machine(plant(asked, "v3", SLOW))
    compare = machine.compare

    def fail(error):
        def failing(base, step, cases, options):
            if step == "v2":
                raise error
            return compare(base, step, cases, options)

        return failing

    machine.compare = fail(ConfigurationError("v2 cannot be downloaded"))
    with pytest.raises(ConfigurationError, match="downloaded"):
        search(asked, machine)
    machine.compare = fail(PackageError("there is no v2"))
    found = search(asked, machine)
    assert found.standing.first_bad is None
    assert found.standing.suspects == ("v2", "v3")
    assert [record.reason for record in found.state.steps if record.answer == "skipped"] == [
        "there is no v2"
    ]


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_an_interrupted_search_goes_on_where_it_was(search, call):
    asked = question()
    steps = plant(asked, "c06", SLOW)
    stopped = search(asked, Machine(steps, interrupt_at=call))
    assert stopped.ending == "interrupted"
    machine = Machine(steps, seed=1)
    found = search(asked, machine)
    assert (found.ending, found.standing.first_bad) == ("found", "c06")
    whole = Machine(steps)
    search(replace(asked, subject="mine:other"), whole)
    assert len(machine.calls) == len(whole.calls) - call + 1, "what was measured is measured again"
    assert machine.calls[0][-1].null_control, "each sitting holds the good end against itself"


def test_a_key_press_outside_a_comparison_is_an_interrupt_too(search):
    asked = question()

    class Pressed(Machine):
        def compare(self, *arguments):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().compare(*arguments)

    stopped = search(asked, Pressed(plant(asked, "c06", SLOW)))
    assert stopped.ending == "interrupted"
    assert stopped.state.end is not None
    assert len(stopped.state.steps) == 1


def test_a_finished_search_is_not_measured_again(search):
    asked = question()
    steps = plant(asked, "c06", SLOW)
    first = search(asked, Machine(steps))
    machine = Machine(steps)
    assert search(asked, machine) == first
    assert machine.calls == []


def test_another_question_begins_anew():
    asked = question()
    keys = {
        asked.key(),
        replace(asked, subject="mine:other").key(),
        replace(asked, good="other").key(),
        replace(asked, aspects=("image",)).key(),
        replace(asked, software={"torch": "2.14.1"}).key(),
        replace(asked, options=replace(asked.options, max_slowdown=0.05)).key(),
        replace(asked, history=make_chain(["a", "b"])).key(),
    }
    assert len(keys) == 7
    assert question().key() == asked.key()


def test_the_first_bad_step_is_measured_against_the_one_before_it(search):
    asked = question()
    steps = plant(asked, "c06", SLOW, Planted(slowdown=0.01))
    machine = Machine(steps)
    found = search(asked, machine)
    assert machine.calls[-1][:2] == ("c05", "c06")
    assert machine.calls[-1][-1].stages
    assert found.state.closing_base == "c05"
    (case,) = found.state.closing.cases
    assert case.change_log == pytest.approx(0.0853, abs=0.006)


def test_the_good_end_stands_in_for_a_step_before_that_cannot_be_measured(search):
    history = History(("a", "b", "c"), {"b": ("a",), "c": ("b",)})
    asked = question(history)
    steps = plant(asked, "c", SLOW)
    machine = Machine(steps)
    compare = machine.compare

    def fails_as_base(base, step, cases, options):
        if base == "b":
            raise SideError("A", "b", ConfigurationError("gone"))
        return compare(base, step, cases, options)

    machine.compare = fails_as_base
    found = search(asked, machine)
    assert found.ending == "found"
    assert (found.state.closing_base, found.state.closing.answer) == ("good", "bad")


def test_only_cases_that_got_worse_are_measured_again_the_clearest_first(search):
    fp32, bf16 = MatrixCase(), MatrixCase(variant=Variant(precision="bf16"))
    asked = question(cases=(fp32, FP16, bf16))
    steps = plant(asked, "c06", SLOW)
    own = {(bf16.id, name): Planted() for name in steps}
    own |= {(FP16.id, name): Planted(2 * step.slowdown) for name, step in steps.items()}
    machine = Machine(steps, own=own)
    found = search(asked, machine)
    assert found.standing.first_bad == "c06"
    assert machine.calls[0][2] == (fp32.id, FP16.id, bf16.id)
    assert all(cases[0] != bf16.id for _, _, cases, _ in machine.calls[1:])
    assert machine.calls[1][2] == (FP16.id,)
    for base, *_, options in machine.calls[1:]:
        expected = 0.01 / 6 / 2 if base == "good" else 0.01 / 2
        assert options.alpha == pytest.approx(expected)
    bad = next(record for record in found.state.steps if record.answer == "bad")
    assert len(bad.cases) == 1, "one bad case is enough"


def test_images_are_looked_at_before_anything_is_timed():
    targets = (Target("a", "speed", 0.1, clarity=5), Target("b", "image"), Target("c", "speed"))
    assert order_cases(targets) == ("b", "a", "c")


def test_the_state_is_whole_after_each_step_and_a_damaged_one_is_refused(search, tmp_path):
    asked = question()
    path = tmp_path / "bisect" / f"{asked.key()}.json"
    seen = []

    class Watching(Listener):
        def begin(self, what, step, standing):
            if path.exists():
                seen.append(len(json.loads(path.read_text())["steps"]))

    found = search(asked, Machine(plant(asked, "c06", SLOW)), teller=Watching())
    assert seen == list(range(len(found.state.steps) + 1))
    assert not [name for name in path.parent.rglob("*") if name.name.startswith(".")]
    folder = StateFolder(path.parent, asked.key())
    for name in found.state.steps[0].comparisons:
        assert folder.read_comparison(name).b.label == found.state.steps[0].step
    assert folder.find_image("f" * 64).read_bytes() == b"png"
    assert folder.find_image("0" * 64) is None
    with pytest.raises(RecordError, match="another question"):
        StateFolder(path.parent, "0" * 16).parse(json.loads(path.read_text()))
    path.write_text(path.read_text()[:-40])
    with pytest.raises(RecordError, match="--no-resume"):
        search(asked, Machine({}))
    folder.forget()
    assert folder.read() is None
    assert not folder.folder.exists()


def test_the_same_question_is_not_asked_twice_at_once(tmp_path):
    folder = StateFolder(tmp_path, "key")
    with (
        folder.locked(),
        pytest.raises(ConfigurationError, match="already running"),
        folder.locked(),
    ):
        pass
    with folder.locked():
        pass


def test_a_full_disk_is_told(search, tmp_path):
    (tmp_path / "bisect").touch()
    asked = question()
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        search(asked, Machine(plant(asked, "c06", SLOW)))


def test_what_happens_is_told(search):
    asked = question()
    listener = Listener()
    search(asked, Machine(plant(asked, "c06", SLOW)), teller=listener)
    assert [what for what, *_ in listener.begun] == [
        "the ends",
        *(f"step {number}" for number in range(1, 5)),
        "what the first bad step does by itself",
    ]
    assert listener.begun[1] == ("step 1", "c07", 16)
    assert listener.ended[0] == ("c15", "bad")


def test_a_skipped_step_is_told_with_the_options_of_the_command(search):
    asked = question()
    steps = plant(asked, "c09", SLOW)
    machine = Machine({**steps, "c07": replace(steps["c07"], refuses=True)})
    found = search(asked, machine, spell=lambda error: f"as typed: {error}")
    (skipped,) = [one for one in found.state.steps if one.answer == "skipped"]
    assert skipped.reason.startswith("as typed: ")
    assert "the subject does not import" in skipped.reason
