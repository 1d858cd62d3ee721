"""The arithmetic of what watching costs."""

import pytest

from evidence.watching_cost.__main__ import compute_cost

ORDERS = ("ABBA", "BAAB") * 4


def blocks(cost, drift=0.0):
    """Blocks whose rounds take 1 s, B's times ``cost``, each later round times 1 + ``drift``."""
    return [
        (order, [(cost if arm == "B" else 1.0) * (1 + drift) ** i for i, arm in enumerate(order)])
        for order in ORDERS
    ]


def test_no_cost_is_a_ratio_of_one():
    cost = compute_cost("sampler", blocks(1.0))
    assert cost.median_block_ratio == cost.ratio_of_medians == 1.0
    assert (cost.lower, cost.upper, cost.blocks) == (1.0, 1.0, 8)


@pytest.mark.parametrize("drift", [0.0, 0.05, -0.05])
def test_a_cost_is_found_under_drift(drift):
    cost = compute_cost("sampler", blocks(1.02, drift))
    assert cost.median_block_ratio == pytest.approx(1.02)
    assert cost.lower == pytest.approx(1.02)
    assert cost.watched_median_s > cost.plain_median_s


def test_one_disturbed_block_moves_neither_the_median_nor_hides():
    disturbed = [*blocks(1.01)[:-1], ("ABBA", [1.0, 9.0, 9.0, 1.0])]
    cost = compute_cost("sampler", disturbed)
    assert cost.median_block_ratio == pytest.approx(1.01)
    assert cost.upper > 8
