"""Palettes are the best there are: held against every possible cut, and against other k-means."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.engines.coreml.palettes import (
    CHANNELS_IN_A_GROUP,
    FEWEST_ELEMENTS,
    find_clusters,
    fit_palette,
    palettise,
)


def cost_of(values, weights, starts):
    total = 0.0
    for run, share in zip(np.split(values, starts[1:]), np.split(weights, starts[1:]), strict=True):
        total += (share * (run - np.average(run, weights=share)) ** 2).sum()
    return total


def error_of(weight, table, places):
    return ((weight.astype(float).ravel() - table.astype(float)[places]) ** 2).sum()


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.integers(1, 9)),
        min_size=1,
        max_size=9,
        unique_by=lambda pair: pair[0],
    ),
    st.integers(1, 5),
)
def test_no_other_cut_is_better(pairs, count):
    values, weights = np.array(sorted(pairs), dtype=float).T
    count = min(count, len(values))
    starts = find_clusters(values, weights, count)
    assert starts[0] == 0
    assert len(starts) == count
    assert (np.diff(starts, append=len(values)) > 0).all()
    every = combinations(range(1, len(values)), count - 1)
    best = min(cost_of(values, weights, [0, *cuts]) for cuts in every)
    assert cost_of(values, weights, starts) == pytest.approx(best, abs=1e-6)


def draw(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, shape).astype(np.float16)


def test_counts_weigh():
    weight = np.array([0.0] * 100 + [1.0, 2.0, 2.0], dtype=np.float16)
    table, places = fit_palette(weight, 2)
    np.testing.assert_allclose(table, [0, 5 / 3], atol=1e-3)
    assert places.tolist() == [0] * 100 + [1, 1, 1]


@pytest.mark.parametrize(("shape", "bits"), [((64, 100), 6), ((16, 300), 4)])
def test_a_table_is_at_least_as_good_as_that_of_coremltools(shape, bits):
    """On few weights: over millions its k-means does not end in minutes."""
    pytest.importorskip("sklearn")
    quantization = pytest.importorskip("coremltools.models.neural_network.quantization_utils")
    weight = draw(shape)
    theirs, labels = quantization._get_kmeans_lookup_table_and_weight(bits, weight)
    table, places = fit_palette(weight, 2**bits)
    assert table.shape == (2**bits,)
    assert table.dtype == np.float16
    searched = error_of(weight, theirs.ravel().astype(np.float16), labels)
    assert error_of(weight, table, places) <= searched
    shifted = np.append(table[1:], table[:1])
    assert error_of(weight, shifted, places) > searched  # the comparison can fail


def test_the_same_weight_has_the_same_table():
    weight = draw((40, 200))
    for one, other in zip(fit_palette(weight, 64), fit_palette(weight.copy(), 64), strict=True):
        np.testing.assert_array_equal(one, other)


def test_places_follow_the_elements():
    weight = draw((12, 300))
    mixed = np.random.default_rng(1).permutation(weight.ravel())
    table, places = fit_palette(weight, 16)
    again, moved = fit_palette(mixed, 16)
    np.testing.assert_array_equal(table, again)
    assert np.abs(table[places] - weight.ravel()).max() < 0.1
    assert sorted(places) == sorted(moved)


def test_fewer_values_than_places_stay_as_they_are():
    weight = np.array([[0.5, -0.25], [0.5, 2.0]], dtype=np.float16)
    table, places = fit_palette(weight, 16)
    assert table.tolist() == [-0.25, 0.5] + [2.0] * 14
    np.testing.assert_array_equal(table[places].reshape(2, 2), weight)


def test_a_weight_in_float32_keeps_its_dtype():
    table, _ = fit_palette(draw((64, 64)).astype(np.float32), 16)
    assert table.dtype == np.float32


def test_six_bits_have_one_table_and_four_bits_one_for_each_group():
    weight = draw((2 * CHANNELS_IN_A_GROUP, 11, 3, 3))
    weight[CHANNELS_IN_A_GROUP:] *= 10
    six, four = palettise(weight, 6), palettise(weight, 4)
    assert six.shape == four.shape == weight.shape
    assert len(np.unique(six)) == 64
    halves = np.split(four, 2)
    assert [len(np.unique(half)) for half in halves] == [16, 16]
    assert not set(np.unique(halves[0])) & set(np.unique(halves[1]))


@pytest.mark.parametrize("weight", [draw(9999), draw((2, FEWEST_ELEMENTS // 2))])
def test_flat_and_small_weights_are_left_alone(weight):
    assert palettise(weight, 4) is weight


def test_channels_that_do_not_divide_into_groups_are_left_alone():
    weight = draw((CHANNELS_IN_A_GROUP + 1, 500))
    assert palettise(weight, 4) is weight
    assert palettise(weight, 6) is not weight
