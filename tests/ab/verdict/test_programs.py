"""Two programs, or a program beside torch: what is judged of their pictures."""

import dataclasses

from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.images import ANOTHER_PROGRAM, Drawing, choose_floors
from sdperf.judging.floors import SAME_PATH_FLOORS
from sdperf.record.workload import Variant, Workload

WORKLOAD = Workload("embedded", ("fox",), 4, 3.0)
TORCH_SIDE = Drawing(WORKLOAD, "a" * 64, Variant())
TOY_SIDE = Drawing(WORKLOAD, "a" * 64, Variant(engine="external:toy=/a/x"))


def choose(a, b, **options):
    return choose_floors(a, b, dataclasses.replace(CompareOptions(), **options), lambda _: None)


def test_another_programs_pictures_are_shown_and_not_judged():
    other = dataclasses.replace(TOY_SIDE, variant=Variant(engine="external:other=/a/x"))
    for pair in ((TORCH_SIDE, TOY_SIDE), (TOY_SIDE, TORCH_SIDE), (TOY_SIDE, other)):
        assert choose(*pair) == (None, ANOTHER_PROGRAM)


def test_one_program_in_two_environments_is_judged():
    moved = dataclasses.replace(TOY_SIDE, variant=Variant(engine="external:toy=/b/x"))
    assert choose(TOY_SIDE, moved) == (SAME_PATH_FLOORS, None)
    halved = dataclasses.replace(
        moved, variant=dataclasses.replace(moved.variant, precision="fp16")
    )
    floors, reason = choose(TOY_SIDE, halved)
    assert floors is None
    assert "--min-ssim" in reason


def test_a_floor_that_the_user_gives_holds_for_programs_too():
    floors, reason = choose(TORCH_SIDE, TOY_SIDE, min_ssim=0.5)
    assert reason is None
    assert floors.ssim == 0.5
