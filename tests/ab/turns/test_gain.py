"""A gain is the ratio of seconds per image, free of drift, with an interval."""

import numpy as np
import pytest

from sdperf.ab.turns.gain import GainCase, compute_gain, refuse_other_sizes
from sdperf.errors import UnsupportedError
from sdperf.images.png import encode_png
from sdperf.record.workload import Variant, Workload
from sdperf.run.worker.synchronous import divide_into_calls

PLAIN = Variant(precision="fp16")


def test_a_gain_is_the_ratio_of_seconds_per_image():
    gain = compute_gain(PLAIN, [6.0, 6.0, 6.0, 6.0], 1, [4.0, 4.0, 4.0, 4.0], 2)
    assert gain.ratio == pytest.approx(3.0)
    assert gain.lower == pytest.approx(3.0) == gain.upper
    assert gain.against == PLAIN
    assert gain.plain_rounds_s == (6.0,) * 4


def test_linear_drift_cancels_within_a_block():
    # ABBA BAAB, the machine 10 % slower at each turn; both sides are equal.
    turns = [1.1**turn for turn in range(8)]
    order = "ABBABAAB"
    plain = [s for s, arm in zip(turns, order, strict=True) if arm == "A"]
    own = [s for s, arm in zip(turns, order, strict=True) if arm == "B"]
    gain = compute_gain(PLAIN, plain, 1, own, 1)
    assert gain.ratio == pytest.approx(1.0)
    assert sum(plain[:2]) != pytest.approx(sum(own[:2]))


def test_sides_that_change_places_mirror_the_gain():
    plain, own = [2.0, 2.2, 2.1, 2.4, 2.3, 2.0], [1.0, 1.3, 0.9, 1.1, 1.2, 1.0]
    there = compute_gain(PLAIN, plain, 1, own, 1)
    assert there.lower <= there.ratio <= there.upper
    assert there.coverage == pytest.approx(0.75)  # three blocks: the extremes
    back = compute_gain(PLAIN, own[::-1], 1, plain[::-1], 1)
    assert back.ratio < 1 < there.ratio


def test_a_last_round_without_a_partner_counts_as_a_pair():
    gain = compute_gain(PLAIN, [2.0, 2.0, 4.0], 1, [1.0, 1.0, 1.0], 1)
    assert gain.upper == pytest.approx(4.0)
    assert gain.lower == pytest.approx(2.0)


class Side:
    """A case that notes when it was its turn."""

    def __init__(self, name, turns, seconds):
        self.name, self.turns, self.seconds = name, turns, seconds

    def measure_round(self):
        self.turns.append(self.name)
        return self.seconds


def test_the_sides_take_turns_in_mirrored_blocks():
    turns = []
    pair = GainCase(Side("B", turns, 1.0), Side("A", turns, 2.0))
    assert [pair.measure_round() for _ in range(4)] == [1.0] * 4
    assert "".join(turns) == "ABBABAAB"


def test_a_stream_is_divided_into_calls_of_one_size():
    workload = Workload("embedded", ("one", "two", "three"), 4, 1.0)
    images = tuple(workload.image(index) for index in range(5))
    calls = list(divide_into_calls(images, 2))
    assert [len(call) for call in calls] == [2, 2, 2]
    assert calls[-1] == (images[4], images[4])
    assert list(divide_into_calls(images, 1)) == [(image,) for image in images]


def test_sides_that_draw_sizes_of_their_own_are_not_the_same_work():
    plain, wide = (encode_png(np.zeros((128, width, 3), np.uint8)) for width in (128, 256))
    refuse_other_sizes([(plain, plain)])
    with pytest.raises(UnsupportedError, match="draws 256x128, plain torch 128x128") as caught:
        refuse_other_sizes([(plain, plain), (plain, wide)])
    assert caught.value.hint == "--sd-size 256x128"
    assert "baseline" not in str(caught.value)
