"""What is left of a budget is divided anew before each case, by what its like took."""

from types import SimpleNamespace

import pytest

from sdperf.plugin.live.ahead import SOAKED, ExpectedWork, Plan
from sdperf.plugin.live.budget import SessionBudget
from sdperf.record.workload import Variant


def ask(name, variant=Variant(), asks="latency", **more):  # noqa: B008
    return ExpectedWork(name, variant, asks=frozenset({asks}), **more)


FIRST = ask("first")
ASYNC = ask("async", Variant(mode="async"))
TWO = ask("two", Variant(workers=2))
STAGE = ask("stage", asks="stage")


class Session:
    """A session of one second an image, its clock turned by hand."""

    def __init__(self, tests, skipped=(), **changes):
        settings = {
            "budget_s": 60.0,
            "rounds": 5,
            "batch_rounds": 2,
            "images": 4,
            "warmup": 0,
            "processes": 1,
            "unwatched": True,
            "soak_s": None,
            "optimisations": None,
        }
        self.said, self.planned, self.drawn = [], [], 99
        self.now_s = 0.0
        self.suites = SimpleNamespace(
            settings=SimpleNamespace(**(settings | changes)),
            plan=Plan(tests),
            is_skipped=lambda variant: variant in skipped,
            live_line=SimpleNamespace(tell=self.said.append),
            count_loads=lambda: 3,
            count_drawn=lambda: self.drawn,
            reference_precision=lambda: "fp32",
            plan_references=lambda tests: self.planned.append([one.node_id for one in tests]),
            own=lambda: SimpleNamespace(planned=SimpleNamespace(pictures=2)),
        )
        self.budget = SessionBudget(self.suites, clock=lambda: self.now_s)

    def measure(self, wanted, image_s=1.0, load_s=0.0):
        self.budget.note(
            SimpleNamespace(
                stage=None,
                variant=wanted.variant,
                seconds_per_image=image_s,
                load_s=load_s,
                first_call_s=None,
            )
        )


def test_before_the_first_case_nothing_is_known():
    session = Session([FIRST, ASYNC], budget_s=0.1)
    assert session.budget.explain("first") is None
    assert session.budget.rounds == 5
    assert session.said == []


def test_without_a_budget_there_is_always_time():
    session = Session([FIRST, ASYNC], budget_s=None)
    session.measure(FIRST, 1e9)
    assert session.budget.explain("async") is None


@pytest.mark.parametrize(("budget_s", "rounds"), [(10.0, 5), (8.0, 4), (6.0, 3)])
def test_the_most_rounds_are_taken_with_which_all_fits(budget_s, rounds):
    session = Session([FIRST, ASYNC, ask("b", Variant(mode="async"))], budget_s=budget_s)
    session.measure(FIRST)
    assert session.budget.explain("async") is None
    assert session.budget.rounds == rounds


def test_less_telling_cases_are_left_out_with_the_reason():
    session = Session([FIRST, TWO, ASYNC], budget_s=5.0)
    session.measure(FIRST)
    assert session.budget.explain("two") == "left out to end in 5s (--sd-budget)"
    assert session.budget.explain("async") is None
    (said,) = session.said
    assert said == (
        "--sd-budget 5s: 1 of the 2 cases that are left, 3 rounds of one image each; "
        "left out unless time remains: 1 of several workers"
    )


def test_the_budget_is_told_as_it_is_typed_and_one_case_is_one():
    session = Session([FIRST, TWO], budget_s=2400.0)
    session.measure(FIRST)
    session.budget.explain("two")
    assert session.said == ["--sd-budget 40m: 1 of the 1 case that is left"]


def test_what_time_remains_is_looked_at_before_each_case():
    session = Session([FIRST, ASYNC, TWO], budget_s=60.0)
    session.measure(FIRST)
    assert session.budget.explain("async") is None
    session.now_s = 59.0  # it took longer than thought
    assert session.budget.explain("two") is not None
    assert session.budget.rounds == 5, "rounds are chosen once, so that cases stay alike"


def test_a_pipeline_that_is_slow_is_known_by_its_own_figures():
    half = Variant("fp16")
    session = Session([FIRST, ask("half", half), ask("half again", half)], budget_s=70.0)
    session.measure(FIRST)
    session.measure(ask("half", half), image_s=30.0)
    assert session.budget.explain("half again") is not None
    assert Session([FIRST]).budget.explain("first") is None


def test_loads_cost_time_too():
    session = Session([FIRST, TWO], budget_s=30.0)
    session.measure(FIRST, load_s=25.0)
    assert session.budget.explain("two") is not None


def test_what_is_skipped_anyhow_is_neither_counted_nor_given_that_reason():
    soak = ask("soak", asks="soak")
    plain = ask("plain", asks="throughput", has_plain_side=True)
    session = Session([FIRST, TWO, soak, plain], skipped=[TWO.variant])
    assert soak.asks == SOAKED
    session.measure(FIRST)
    session.budget.tell_cost()
    assert session.said[-1].startswith("1 case, 3 model loads, about 10 images")
    assert session.budget.skipped == {"two", "soak", "plain"}
    session.now_s = 1e6
    assert session.budget.explain("two") is None


def test_a_soak_takes_the_time_that_is_asked_for():
    session = Session([FIRST, ask("soak", asks="soak")], soak_s=100.0)
    session.measure(FIRST)
    assert session.budget.explain("soak") is not None


def test_cost_and_pace_are_each_said_once():
    session = Session([FIRST, STAGE])
    session.budget.note_first_image(2.0)
    assert session.said == [], "nobody said how many images there are"
    for _ in range(2):
        session.budget.tell_cost()
        session.budget.note_first_image(2.0)
    first, pace = session.said
    assert first == (
        "2 cases, 3 model loads, about 12 images; how long that takes is said after the first one"
    )
    assert pace == (
        "the first image took 2.00 s: at that pace drawing takes 24.0 s, and loading, "
        "watching and scoring come on top"
    )


def test_what_may_slow_the_images_is_said_once_beside_their_pace():
    session = Session([FIRST, STAGE])
    session.budget.tell_cost()
    for _ in range(2):
        session.budget.note_first_image(2.0, lambda: ["other programs run", "threads spin"])
    assert session.said[2:] == ["other programs run", "threads spin"]


@pytest.mark.parametrize(
    ("image_s", "budget_s", "is_told"),
    [(51.0, None, True), (50.0, None, False), (51.0, 9.0, False)],
)
def test_a_budget_is_proposed_above_ten_minutes(image_s, budget_s, is_told):
    session = Session([FIRST, STAGE], budget_s=budget_s)
    session.budget.tell_cost()
    session.budget.note_first_image(image_s)
    words = "--sd-budget 10m ends the session after about ten minutes, with its most telling cases"
    assert (session.said[2:] == [words]) is is_told


def test_no_budget_is_proposed_that_would_leave_nothing_out():
    session = Session([ask("sound", asks="soundness", is_timed=False)], budget_s=None)
    session.budget.tell_cost()
    session.budget.note_first_image(1e6)
    assert len(session.said) == 2


def test_a_case_that_was_kept_chooses_nothing_for_those_that_are_left():
    session = Session([FIRST, ASYNC, ask("b", Variant(mode="async"))], budget_s=6.0)
    session.measure(FIRST)
    assert session.budget.explain("kept by an earlier process") is None
    assert session.said == []
    assert session.budget.explain("async") is None
    assert session.budget.rounds == 3


@pytest.mark.parametrize(
    ("budget_s", "words"),
    [(None, ""), (60.0, "; no case is timed, so --sd-budget leaves none out")],
)
def test_a_session_without_a_timed_case_says_that_no_budget_binds(budget_s, words):
    session = Session([ask("sound", asks="soundness", is_timed=False)], budget_s=budget_s)
    session.budget.tell_cost()
    (said,) = session.said
    assert said.startswith("1 case, 3 model loads, about ")
    assert said.endswith(f"images{words}")


def bound(session, image_s):
    return session.budget.bound_first("first", FIRST.variant, image_s)


@pytest.mark.parametrize(("budget_s", "rounds"), [(20.0, 5), (8.0, 4), (6.0, 3)])
def test_the_first_case_takes_as_many_rounds_as_fit_by_its_first_image(budget_s, rounds):
    session = Session([FIRST, ASYNC], budget_s=budget_s)
    assert session.budget.is_first
    assert bound(session, 1.0) == rounds
    words = f"--sd-budget {budget_s:.0f}s: {rounds} rounds of the first case"
    assert session.said == ([] if rounds == 5 else [words])
    session.measure(FIRST)
    assert not session.budget.is_first
    assert session.budget.rounds == 5, "what is left is shared out by what the case took"


def test_a_first_case_longer_than_the_budget_is_said():
    session = Session([FIRST, ASYNC], budget_s=10.0, rounds=30)
    assert bound(session, 1.0) == 30
    assert session.said == [
        "--sd-budget 10s: the first case alone takes 30.0 s in 30 rounds, and there are 10.0 s left"
    ]


def test_a_budget_that_loading_took_leaves_nothing_and_not_less():
    session = Session([FIRST, ASYNC], budget_s=10.0)
    session.now_s = 40.0
    bound(session, 1.0)
    (said,) = session.said
    assert said.endswith("3 rounds, and none is left")


HALF = ask("half", Variant("bf16"))
LAYERS = ExpectedWork("layers", Variant("bf16"), False, asks=frozenset({"components"}))


@pytest.mark.parametrize(("drawn", "is_run"), [(1, True), (0, False)])
def test_a_picture_of_the_reference_costs_time(drawn, is_run):
    session = Session([FIRST, HALF], budget_s=3.5, rounds=3)
    session.measure(FIRST)
    session.drawn = drawn
    assert (session.budget.explain("half") is None) is is_run
    assert session.planned == [["half"] if is_run else []]


def test_a_recording_of_the_reference_costs_time_once():
    again = ExpectedWork("again", Variant("bf16"), False, asks=frozenset({"trajectory"}))
    session = Session([FIRST, LAYERS, again], budget_s=24.0)
    session.measure(FIRST)
    assert session.budget.explain("layers") is None  # 8 of its own, 8 of the reference
    assert session.planned == [["layers", "again"]], "the second needs no recording of its own"
    session.now_s = 16.0
    assert session.budget.explain("again") is None
    alone = Session([FIRST, LAYERS], budget_s=15.0)
    alone.measure(FIRST)
    assert alone.budget.explain("layers") is not None


def test_what_a_pipeline_takes_once_is_reckoned_with():
    for budget_s, is_run in ((12.0, True), (11.0, False)):
        session = Session([FIRST, HALF], budget_s=budget_s, unwatched=False)
        session.measure(FIRST)
        # 5 rounds, 2 watched, 3 profiled and 2 measured again at the end
        session.budget.rounds = 5
        session.budget._has_chosen = True
        assert (session.budget.explain("half") is None) is is_run
