"""Pictures by content: looked at once, compared once a pair, and nothing about them made up."""

import dataclasses

import numpy as np
import pytest

from sdperf.errors import ImageError
from sdperf.images import compute_entropy_bits, describe_image
from sdperf.images.png import compute_png_sha256, decode_png, encode_png
from sdperf.record.scores import compute_scores
from sdperf.record.workload import ImageRequest
from sdperf.run.messages import DeliveredImage
from sdperf.run.pictures import scoring
from sdperf.run.pictures.scoring import Other, PictureScores
from tests.support.pictures import add_noise, make_scene

SCENE, NOISY = encode_png(make_scene()), encode_png(add_noise(make_scene(), 8))


@pytest.fixture
def worked(monkeypatch):
    """Counts what is decoded, looked at and compared."""
    counts = {"decode_png": 0, "describe_image": 0, "compute_scores": 0}
    for name in counts:
        original = getattr(scoring, name)

        def count(*arguments, name=name, original=original):
            counts[name] += 1
            return original(*arguments)

        monkeypatch.setattr(scoring, name, count)
    return counts


def test_a_picture_is_described_and_scored_as_alone():
    (seen,) = PictureScores().examine([(NOISY, [Other.of_png("fp32-sync", SCENE)])])
    pixels = decode_png(NOISY)
    expected = compute_scores("fp32-sync", compute_png_sha256(SCENE), decode_png(SCENE), pixels)
    assert seen.scores == (expected,)
    assert seen.sha256 == compute_png_sha256(NOISY)
    assert seen.look.entropy_bits == compute_entropy_bits(pixels)
    assert (seen.look.height, seen.look.width) == pixels.shape[:2]
    assert seen.look.faults == describe_image(pixels).faults


def test_what_is_known_is_not_worked_on_again(worked):
    pictures = PictureScores()
    wanted = [(NOISY, [Other.of_png("fp32-sync", SCENE)]), (SCENE, [])] * 3
    first = pictures.examine(wanted)
    assert worked == {"decode_png": 2, "describe_image": 2, "compute_scores": 1}
    again = pictures.examine(wanted)
    assert worked == {"decode_png": 2, "describe_image": 2, "compute_scores": 1}
    assert again == first


def test_one_pair_has_one_score_whatever_the_other_is_called():
    others = [Other.of_png(name, SCENE) for name in ("fp32-sync", "reference")]
    (seen,) = PictureScores().examine([(NOISY, others)])
    assert [one.against for one in seen.scores] == ["fp32-sync", "reference"]
    assert len({one.ssim for one in seen.scores}) == 1


def test_both_directions_are_two_pairs():
    pictures = PictureScores()
    one, other = pictures.examine(
        [(NOISY, [Other.of_png("a", SCENE)]), (SCENE, [Other.of_png("b", NOISY)])]
    )
    assert one.scores[0].against_sha256 == compute_png_sha256(SCENE)
    assert other.scores[0].against_sha256 == compute_png_sha256(NOISY)


def test_another_shape_has_no_score():
    larger = encode_png(make_scene(256, 256))
    (seen,) = PictureScores().examine([(NOISY, [Other.of_png("fp32-sync", larger)])])
    assert seen.scores == ()


def test_a_picture_that_cannot_be_read_is_said_and_leaves_nothing_known(worked):
    pictures = PictureScores()
    with pytest.raises(ImageError, match="not a readable PNG"):
        pictures.examine([(NOISY, [Other.of_png("fp32-sync", SCENE[:60])])])
    (seen,) = pictures.examine([(NOISY, [])])
    assert seen.look.faults == ()


def test_numbers_that_were_not_finite_are_a_fault_of_this_delivery_alone():
    request = ImageRequest("apple", 3)
    (seen,) = PictureScores().examine([(encode_png(np.zeros((32, 32, 3), np.uint8)), [])])
    delivered = DeliveredImage(png=b"", latency_s=0.0, nonfinite=False)
    damaged = seen.make_record(request, dataclasses.replace(delivered, nonfinite=True))
    assert damaged.faults == ("NaN or infinity among the pixel values", *seen.look.faults)
    assert seen.make_record(request, delivered).faults == seen.look.faults
    assert seen.look.faults
