"""Pictures compared with what they were drawn from: honest losses are green, misuse is red."""

import io

import numpy as np
import pytest
from PIL import Image

from sdperf.engines.external.check.giving import list_given
from sdperf.engines.external.check.nearness import StartedPicture, compare_nearness

ACCEPTS = ("picture", "mask", "strength")
EDGE_PX = 128


def read(png, mode):
    return np.asarray(Image.open(io.BytesIO(png)).convert(mode), dtype=np.float64)


def lose(pixels):
    """Lose what latents lose, and more: details and contrast."""
    image = Image.fromarray(np.uint8(pixels))
    small = image.resize((EDGE_PX // 8, EDGE_PX // 8), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC)) * 0.8 + 20.0


def draw(given, number, *, loses=True, use=lambda mask, strength: (mask, strength)):
    """Draw over a picture, or all of it: another scene, which is the same for each start."""
    start, strength = read(given.picture, "RGB"), given.strength or 0.8
    white = np.full(start.shape[:2], True) if given.mask is None else read(given.mask, "L") > 127
    white, strength = use(white, strength)
    generator = np.random.default_rng(number)
    scene = np.kron(generator.uniform(0, 255, (16, 16, 3)), np.ones((8, 8, 1)))
    mixed = np.where(white[..., None], scene * strength + start * (1 - strength), start)
    return np.uint8(lose(mixed) if loses else mixed)


def compare(accepts=ACCEPTS, **more):
    named = list_given(accepts, (EDGE_PX, EDGE_PX))
    return compare_nearness(
        [
            StartedPicture(
                one.start, one.mask, one.given.strength, one.given, draw(one.given, n, **more)
            )
            for n, one in enumerate(named)
        ]
    )


@pytest.mark.parametrize("loses", [True, False])
@pytest.mark.parametrize(
    ("accepts", "count"),
    [(ACCEPTS, 4), (("picture",), 1), (("picture", "mask"), 3), (("picture", "strength"), 2)],
)
def test_what_uses_all_it_is_given_is_kept_also_with_losses(accepts, count, loses):
    found = compare(accepts, loses=loses)
    assert [one.is_kept for one in found] == [True] * count


@pytest.mark.parametrize(
    ("use", "bad"),
    [
        (lambda mask, strength: (~mask, strength), ["all but", "its middle"]),
        (lambda mask, strength: (mask | True, strength), ["all but", "its middle"]),
        (lambda mask, strength: (mask, 1.0 - strength), ["at strength 0.3 is no nearer"]),
        (lambda mask, strength: (mask, 1.0), ["than to the other one", "at strength 0.3"]),
    ],
)
def test_what_is_the_wrong_way_round_or_only_salts_the_noise_is_found(use, bad):
    said = [one.words for one in compare(use=use) if not one.is_kept]
    for words in bad:
        assert any(words in one for one in said), said
