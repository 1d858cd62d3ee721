"""Where a picture parts from the compared sessions', in words, and what that comes to."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.judging.inside.imprints import judge_imprints
from sdperf.record.imprint import (
    SUMS,
    OutputImprint,
    PictureImprint,
    estimate_relative_rms,
    find_parting,
    pack_sketch,
)
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant
from tests.support.measurements import ENVIRONMENT, measurement

STEPS = 4


def output(value=1.0, shape=(1, 4, 8, 8)):
    sketch = None if value is None else pack_sketch([value] + [1.0] * (SUMS - 1))
    return OutputImprint(f"{value}", shape, sketch)


def picture(*, text=1.0, denoiser=(), latents=(), pixels=1.0, steps=STEPS, seed=0):
    """Imprint a picture whose outputs are 1 but for those that are named by their step."""
    return PictureImprint(
        "red apple",
        seed,
        {"0": output(text)},
        tuple(output(dict(denoiser).get(step, 1.0)) for step in range(steps)),
        tuple(output(dict(latents).get(step, 1.0)) for step in range(steps)),
        output(pixels, (1, 32, 32, 3)),
    )


PLAIN = picture()


def session(*imprints, **changes):
    return measurement(imprints=imprints, **changes)


def judge(current, *history, **changes):
    saved = [None if one is None else session(one) for one in history]
    return judge_imprints(session(current, **changes), saved)


@pytest.mark.parametrize(
    ("current", "words"),
    [
        ({"text": 1.01}, "the text encoder's output is the first to differ"),
        ({"denoiser": [(2, 1.01)]}, "the denoiser's output at step 3 of 4 is the first to differ"),
        ({"latents": [(1, 1.001)]}, "what guidance and scheduler make of equal outputs of the"),
        ({"latents": [(1, 1.001)]}, "at step 2 of 4 is the first to differ"),
        ({"pixels": 1.01}, "what the VAE makes of equal latents is the first to differ"),
    ],
)
def test_the_first_component_that_differs_is_named(current, words):
    found = judge(picture(**current), PLAIN)
    assert found.outcome is Outcome.CHANGED
    assert words in found.reason
    assert "'red apple' (seed 0): identical inside until now" in found.reason


def test_what_was_first_is_named_and_not_what_followed():
    later = picture(denoiser=[(1, 1.001), (2, 1.5)], latents=[(1, 1.001), (2, 1.002)], pixels=1.5)
    assert "the denoiser's output at step 2 of 4" in judge(later, PLAIN).reason


def test_latents_far_apart_are_a_loss():
    found = judge(picture(latents=[(2, 1.5), (3, 9.0)]), PLAIN)
    assert found.outcome is Outcome.DEGRADED
    assert "at step 3 of 4 is the first to differ" in found.reason
    assert "apart after step 4, tolerance of fp32 here 0.001" in found.reason


def test_equal_imprints_need_no_word():
    assert judge(PLAIN, PLAIN) is None
    assert judge(PLAIN, None) is None
    assert judge(PLAIN) is None
    assert judge_imprints(session(), [session(PLAIN)]) is None
    assert judge_imprints(session(PLAIN), [session()]) is None
    assert judge(picture(seed=1, pixels=2.0), PLAIN) is None  # another picture


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (picture(steps=3), "other work than the baseline's: 4 steps in the baseline, 3 now"),
        (
            dataclasses.replace(PLAIN, latents=(output(2.0, (1, 4, 4, 4)),) * STEPS),
            "latents of 1 x 4 x 8 x 8 in the baseline, of 1 x 4 x 4 x 4 now",
        ),
        (
            dataclasses.replace(PLAIN, pixels=output(2.0, (1, 16, 16, 3))),
            "pixels of 1 x 32 x 32 x 3 in the baseline, of 1 x 16 x 16 x 3 now",
        ),
    ],
)
def test_other_steps_and_sizes_are_other_work(current, words):
    found = judge(current, PLAIN)
    assert found.outcome is Outcome.BROKEN
    assert words in found.reason


def test_latents_that_became_nan_are_broken():
    found = judge(picture(latents=[(2, None)]), PLAIN)
    assert found.outcome is Outcome.BROKEN
    assert "the latents hold NaN or infinity" in found.reason


CHANGED = picture(pixels=1.01)


@pytest.mark.parametrize(
    ("history", "is_told"),
    [
        ([PLAIN, PLAIN], True),
        ([PLAIN, CHANGED], False),  # one of two kernels, or it was just accepted
        ([CHANGED, PLAIN], False),
        ([CHANGED, PLAIN, PLAIN], False),  # seen here before
        ([picture(pixels=1.02), PLAIN], False),  # this machine was never exact
        ([picture(pixels=1.02), PLAIN, PLAIN], True),
    ],
)
def test_what_a_session_gave_before_and_inexact_machines_are_no_change(history, is_told):
    assert (judge(CHANGED, *history) is not None) == is_told


def test_nothing_is_claimed_across_another_torch_but_a_loss():
    other = dataclasses.replace(ENVIRONMENT, packages={"torch": "2.14.0"})
    assert judge(CHANGED, PLAIN, environment=other) is None
    assert judge(picture(latents=[(3, 1.02)]), PLAIN, environment=other) is None
    far = judge(picture(latents=[(3, 9.0)]), PLAIN, environment=other)
    assert far.outcome is Outcome.DEGRADED
    assert "tolerance of fp32 here 0.02" in far.reason


def test_a_16_bit_precision_has_its_own_tolerance():
    bf16 = Variant("bf16")
    near = judge(picture(latents=[(3, 1.5)]), PLAIN, variant=bf16)
    assert near.outcome is Outcome.CHANGED
    assert judge(picture(latents=[(3, 99.0)]), PLAIN, variant=bf16).outcome is Outcome.DEGRADED


def test_the_worst_of_several_pictures_is_told_with_their_number():
    second = {"seed": 1}
    now = session(CHANGED, picture(**second, latents=[(3, 9.0)]), picture(seed=2))
    found = judge_imprints(now, [session(PLAIN, picture(**second), picture(seed=2))])
    assert found.outcome is Outcome.DEGRADED
    assert "(seed 1)" in found.reason
    assert found.reason.endswith("; 2 of 3 pictures part")


def test_two_calls_of_the_denoiser_a_step_are_counted_as_one_step():
    twice = dataclasses.replace(PLAIN, denoiser=(output(),) * (2 * STEPS))
    changed = [output()] * (2 * STEPS)
    changed[5] = output(1.01)
    found = find_parting(twice, dataclasses.replace(twice, denoiser=tuple(changed)))
    assert (found.component, found.step) == ("denoiser", 2)


SUMMED = st.lists(st.floats(-1e6, 1e6, width=32), min_size=SUMS, max_size=SUMS)


@given(SUMMED, SUMMED)
def test_a_distance_is_symmetric_bounded_and_zero_to_itself(one, other):
    a, b = (
        OutputImprint(name, (SUMS,), pack_sketch(sums)) for name, sums in (("a", one), ("b", other))
    )
    there, back = estimate_relative_rms(a, b), estimate_relative_rms(b, a)
    assert there == back
    assert there is None or 0 <= there <= 2
    assert estimate_relative_rms(a, a) == 0.0
