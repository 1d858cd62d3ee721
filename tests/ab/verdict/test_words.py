import math

import pytest

from sdperf.ab.verdict.comparison import EnergyPair, ImagePair
from sdperf.ab.verdict.words import (
    describe_energy,
    describe_images,
    describe_memory,
    describe_speed,
)
from sdperf.record.measurement import MemoryUsage
from sdperf.stats.paired import Decision, YuenBounds
from tests.support.measurements import image, scores


def bounds(mean, lower, upper):
    """From ratios B over A."""
    return YuenBounds(math.log(mean), math.log(lower), math.log(upper), 0.01, 3)


@pytest.mark.parametrize(
    ("seen", "decision", "words"),
    [
        (bounds(0.879, 0.866, 0.892), Decision.PASS, "B is 12.1 % faster (10.8 to 13.4)"),
        (bounds(1.08, 1.05, 1.11), Decision.FAIL, "B is 8.0 % slower (5.0 to 11.0)"),
        (
            bounds(1.0, 0.98, 1.02),
            Decision.PASS,
            "B is as fast as A (2.0 % faster to 2.0 % slower)",
        ),
        (bounds(1.0, 0.98, 1.0), Decision.PASS, "B is as fast as A (2.0 % faster to equal)"),
        (
            bounds(1.02, 0.99, 1.06),
            Decision.INCONCLUSIVE,
            "B is 2.0 % slower (1.0 % faster to 6.0 % slower)",
        ),
        (None, Decision.CONTINUE, "speed unknown"),
    ],
)
def test_speed_is_told_with_its_interval(seen, decision, words):
    assert describe_speed(seen, decision) == words


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (MemoryUsage(1000), MemoryUsage(1019), "same memory"),
        (MemoryUsage(1000), MemoryUsage(1100), "10.0 % more memory"),
        (MemoryUsage(1000, 500), MemoryUsage(2000, 400), "20.0 % less memory"),
        (MemoryUsage(1000, 500, True), MemoryUsage(1000, 400, False), "same memory"),
        (MemoryUsage(), MemoryUsage(1000), None),
        (MemoryUsage(1000, 0), MemoryUsage(1000, 0), "same memory"),
    ],
)
def test_memory_is_the_devices_where_both_know_it(a, b, words):
    assert describe_memory(a, b) == words


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (None, None),
        (EnergyPair("gpu_board", (100.0, 100.0), (91.0, 89.0)), "10 % less energy"),
        (EnergyPair("gpu_board", (100.0,), (115.0,)), "15 % more energy"),
        (EnergyPair("gpu_soc", (100.0,), (100.5,)), "same energy"),
        (EnergyPair("gpu_board", (96.0, 108.0), (108.0, 120.0)), "same energy"),
        (EnergyPair("gpu_board", (120.0, 132.0), (108.0, 108.0)), "14 % less energy"),
        (EnergyPair("gpu_board", (100.0,) * 11 + (69.0,), (70.0,) * 12), "30 % less energy"),
        (EnergyPair("gpu_board", (70.0,) * 12, (100.0,) * 11 + (69.0,)), "43 % more energy"),
        (
            EnergyPair("gpu_soc", (90.0, 95.0, 105.0, 110.0) * 2, (97.0, 102.0, 112.0, 117.0) * 2),
            "same energy",
        ),
        (EnergyPair("gpu_soc", (100.0,) * 7, (70.0,) * 6 + (100.0,)), "same energy"),
        (EnergyPair("gpu_soc", (100.0, 101.0, 99.0), (70.0, 70.0, 100.0, 70.0)), "same energy"),
        (EnergyPair("gpu_board", (0.0, 0.0), (12.0, 0.0)), None),
        (EnergyPair("gpu_soc", (0.0, 0.0), (0.0, 0.0)), None),
    ],
)
def test_energy_is_told_where_it_is_known(energy, words):
    assert describe_energy(energy) == words


def pair(ssim, tile):
    return ImagePair(image(), image(scores=(scores("other side", ssim, tile),)))


def test_the_worst_image_is_told_and_never_rounded_up():
    assert describe_images([pair(0.9996, 0.97), pair(0.9919, 0.949)], None) == (
        "image: SSIM 0.991, worst tile 0.94"
    )
    assert describe_images([pair(1.0, 1.0)], None) == "image: identical"
    assert describe_images([pair(0.5, 0.2)], "other steps") == (
        "image: SSIM 0.500, worst tile 0.20 (not judged: other steps)"
    )
    assert describe_images([ImagePair(image(), image(scores=()))], None) == "image: another size"
    assert describe_images([], None) is None
