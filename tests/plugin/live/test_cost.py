"""What a session costs in images, and which cases fit into a time: the most telling first."""

import pytest

from sdperf.plugin.live.ahead import ExpectedWork, Plan
from sdperf.plugin.live.cost import (
    Amounts,
    Priced,
    choose_cases,
    count_images,
    count_references,
    describe_left_out,
    estimate_cost,
    list_rounds,
    rank,
)
from sdperf.record.workload import Variant

FEW = Amounts(rounds=5, batch_rounds=2, images=4, quality_images=8, warmup=1)


def ask(what, variant=Variant(), **more):  # noqa: B008
    is_timed = what in ("latency", "throughput", "stage", "soak")
    return ExpectedWork(
        f"{what} {variant.id} {more}", variant, is_timed, asks=frozenset({what}), **more
    )


LATENCY = ask("latency")
THROUGHPUT = ask("throughput")
ASYNC = ask("latency", Variant(mode="async"))
TWO = ask("latency", Variant(workers=2))
STAGE = ask("stage")
IMAGES = ask("images")
SOUND = ask("soundness")
COMPONENTS = ask("components")
GAIN = ask("latency", Variant(optimisations=("channels_last",)), has_plain_side=True)
ONNX = ask("latency", Variant(engine="onnx"))


@pytest.mark.parametrize(
    ("wanted", "images"),
    [
        (LATENCY, 1 + 5 + 2),  # warm-up, rounds, watched
        (TWO, 2 * (1 + 5 + 2)),
        (THROUGHPUT, 1 + 2 * 4 + 2),
        (STAGE, 0.5 * (1 + 2) + 1),
        (GAIN, 2 * (1 + 5 + 2)),
        (SOUND, 8 + 1),
        (IMAGES, 0),  # they are those of soundness
        (COMPONENTS, 8),
        (ask("soak"), 0),
    ],
)
def test_the_images_of_a_case(wanted, images):
    assert count_images(wanted, FEW) == images


def test_fresh_processes_repeat_what_is_timed_and_nothing_else():
    twice = Amounts(5, 2, 4, 8, 1, processes=2)
    assert count_images(LATENCY, twice) == 2 * 6 + 2
    unwatched = Amounts(5, 2, 4, 8, 1, is_watched=False)
    assert count_images(LATENCY, unwatched) == 6


def test_a_session_costs_its_cases_what_they_share_and_its_references():
    cost = estimate_cost([LATENCY, TWO, ONNX, IMAGES], FEW, loads=4, references=9)
    assert cost.images == 8 + 16 + 8 + 0 + 2 * 5 + 9 + 4
    assert cost.describe() == "4 cases, 4 model loads, about 55 images"


def test_references_are_pictures_and_a_recording_of_each_pipeline():
    half = ExpectedWork("c", Variant("bf16"), False, asks=frozenset({"components"}))
    assert count_references(Plan([half, LATENCY]), 4, lambda _: False) == 4 + 8
    assert count_references(Plan([half, LATENCY]), 4, lambda _: True) == 4


def test_one_plain_image_and_whether_it_is_right_come_first():
    order = [LATENCY, SOUND, COMPONENTS, THROUGHPUT, ASYNC, TWO, STAGE, ONNX, GAIN]
    ranks = [rank(one)[0] for one in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(order)


def choose(tests, left_s, **loaded):
    return choose_cases(tests, left_s, {LATENCY.pipeline: loaded.get("loaded", 0)})


def price(*tests, each_s=10.0, load_s=0.0):
    return [Priced(one, each_s, load_s) for one in tests]


def test_the_most_telling_cases_that_fit_are_chosen():
    tests = price(STAGE, TWO, ASYNC, THROUGHPUT, LATENCY)
    assert choose(tests, 30.0) == {one.node_id for one in (LATENCY, THROUGHPUT, ASYNC)}
    assert choose(tests, 9.0) == set()
    assert len(choose(tests, 50.0)) == 5


def test_what_does_not_fit_makes_room_for_what_does():
    tests = [Priced(THROUGHPUT, 40.0, 0.0), Priced(STAGE, 5.0, 0.0)]
    assert choose(tests, 10.0) == {STAGE.node_id}


def test_a_pipeline_is_loaded_once_for_each_worker():
    tests = price(LATENCY, ASYNC, TWO, load_s=5.0)
    assert len(choose(tests, 40.0)) == 3  # 30 s of images, two loads
    assert len(choose(tests, 39.0)) == 2
    assert len(choose(tests, 30.0, loaded=2)) == 3


@pytest.mark.parametrize(
    ("rounds", "choice"), [(5, [5, 4, 3]), (2, [2]), (19, list(range(19, 2, -1))), (20, [20])]
)
def test_rounds_are_not_fewer_than_a_median_or_a_gate_needs(rounds, choice):
    assert list(list_rounds(rounds)) == choice


def test_what_is_left_out_is_named_by_kind_the_most_telling_first():
    assert describe_left_out([STAGE, STAGE, ASYNC]) == "1 of async, 2 of single stages"
