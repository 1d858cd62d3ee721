import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.judging.resources.growth import compute_drift, compute_growth, judge_growth
from sdperf.record.verdict import Outcome
from tests.support.measurements import measurement

MIB = 2**20
NOISES = st.integers(0, 2**32).map(np.random.default_rng)


def grown(resident, device=(), images=1, processes=1):
    rounds_s = (1.0,) * max(len(resident), len(device))
    return measurement(
        rounds_s=rounds_s,
        rounds_resident_bytes=tuple(map(int, resident)),
        rounds_device_bytes=tuple(map(int, device)),
        images_per_round=images,
        processes=processes,
    )


def sawtooth(random, rounds=100):
    """What the embedded model's memory does on its own: arenas that fill and are let go."""
    jitter = random.choice([0, 0, 0, 1.4 * MIB, 4 * MIB, -2.5 * MIB], size=rounds)
    start = 380 * MIB + np.minimum(np.arange(rounds), random.integers(0, 40)) * 0.1 * MIB
    step = np.where(np.arange(rounds) > random.integers(rounds), 15 * MIB, 0)
    return start + step + jitter


def outcome(current, *history, **limits):
    finding = judge_growth(current, history, **limits)
    return None if finding is None else finding.outcome


@given(NOISES, st.floats(1 * MIB, 50 * MIB))
def test_a_mebibyte_a_picture_is_found_within_a_hundred_pictures(random, leak):
    leaked = sawtooth(random) + leak * np.arange(100)
    assert outcome(grown(leaked)) in (Outcome.HEAVIER, Outcome.INCONCLUSIVE)
    assert outcome(grown([], device=leaked)) in (Outcome.HEAVIER, Outcome.INCONCLUSIVE)


def test_noise_seldom_hides_a_mebibyte_a_picture_and_never_makes_a_leak():
    found = missed = 0
    for seed in range(300):
        series = sawtooth(np.random.default_rng(seed))
        found += outcome(grown(series)) is Outcome.HEAVIER
        leaked = grown(series + MIB * np.arange(100))
        missed += outcome(leaked) is not Outcome.HEAVIER
    assert found == 0
    assert missed <= 3


def test_growth_is_counted_per_picture_of_all_workers():
    (growth,) = compute_growth(grown(4 * MIB * np.arange(100), images=4))
    assert growth.per_image_bytes == MIB
    assert growth.images == 400


def test_what_an_accepted_session_grew_by_is_no_news_and_what_comes_on_top_is():
    leaky, worse = grown(MIB * np.arange(100)), grown(1.5 * MIB * np.arange(100))
    assert outcome(leaky, leaky) is Outcome.PASS
    assert outcome(worse, leaky) is Outcome.HEAVIER
    assert outcome(leaky, grown(0 * np.arange(100))) is Outcome.HEAVIER
    assert outcome(leaky, None) is Outcome.HEAVIER


def test_the_limit_is_the_users():
    leaky = grown(MIB * np.arange(100))
    assert outcome(leaky, max_leak_bytes=2 * MIB) is Outcome.PASS
    assert "limit 256 KiB" in judge_growth(leaky, []).reason


def test_growth_that_noise_covers_is_open():
    random = np.random.default_rng(1)
    noisy = MIB * np.arange(100) + random.normal(size=100) * 100 * MIB
    assert outcome(grown(noisy)) in (Outcome.INCONCLUSIVE, Outcome.PASS)
    assert outcome(
        grown(np.where(np.arange(100) % 16 < 8, 0, 60 * MIB) + MIB * np.arange(100))
    ) is (Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("changes", [{}, {"processes": 2}])
def test_few_rounds_and_several_processes_say_nothing(changes):
    rounds = 100 if changes else 40
    assert outcome(grown(MIB * np.arange(rounds), **changes)) is None


def test_memory_is_known_after_every_round_or_after_none():
    one = grown(np.arange(60))
    with pytest.raises(RecordError, match="after every round"):
        dataclasses.replace(one, rounds_s=(1.0,) * 59)


def test_drift_is_a_share_of_the_median_round():
    drift = compute_drift(measurement(rounds_s=tuple(1 + 0.001 * np.arange(101))))
    assert drift.per_value == pytest.approx(0.001 / 1.05)
    assert compute_drift(measurement(rounds_s=(1.0,) * 20)) is None
