"""Each image gate can fail: damage done to the reference images that ship, and noise that passes.

The floors are those measured on the embedded model, as they ship.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sdperf.images import compute_entropy_bits, describe_image
from sdperf.images.png import compute_png_sha256, encode_png
from sdperf.judging.floors import EXACT_MACHINE_FLOORS
from sdperf.judging.images import judge_images
from sdperf.judging.quality import judge_observation
from sdperf.models.loader import resolve_model
from sdperf.models.references import load_references
from sdperf.record.floors import PairNoise
from sdperf.record.measurement import ImageRecord, ImageScores
from sdperf.record.observation import ImageParity, Soundness
from sdperf.record.scores import compute_scores
from sdperf.record.verdict import Outcome
from sdperf.record.workload import EMBEDDED, ImageRequest
from tests.support.pictures import add_noise, blacken_tile


@pytest.fixture(scope="module")
def references():
    return load_references(resolve_model(EMBEDDED).folder / "references")


@pytest.fixture(scope="module")
def pictures(references):
    return {entry.key: references.read(entry.sha256) for entry in references.listed.images}


def judge(references, pictures, current, precision="fp32"):
    """Judge images, given by key, against the references; returns the worst finding."""
    records = []
    for entry in references.listed.images:
        image = current[entry.key]
        records.append(
            ImageRecord(
                prompt=entry.prompt,
                seed=entry.seed,
                sha256=compute_png_sha256(encode_png(image)),
                width=image.shape[1],
                height=image.shape[0],
                entropy_bits=compute_entropy_bits(image),
                faults=describe_image(image).faults,
                scores=(compute_scores("reference", entry.sha256, pictures[entry.key], image),),
            )
        )
    seen = ImageParity("reference", tuple(records), tuple(current))
    floors = references.listed.floors[precision]
    findings = judge_observation(seen, precision, floors, references.entropies())
    return next((one for one in findings if one.outcome is Outcome.DEGRADED), findings[0])


def in_one_place(pictures, damage, index=3):
    key = list(pictures)[index]
    return pictures | {key: damage(pictures[key])}


def colour_shift(image):
    return (image.astype(int) + np.array([0, -12, 12])).clip(0, 255).astype(np.uint8)


def blur(image):
    return gaussian_filter(image.astype(float), (0.8, 0.8, 0)).round().astype(np.uint8)


DAMAGE = {
    "black tile": lambda image: blacken_tile(image, 2, 1, 32),
    "1-pixel shift": lambda image: np.roll(image, 1, axis=1),
    "noise": lambda image: add_noise(image, 8),
    "blur": blur,
    "colour shift": colour_shift,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_to_one_image_of_eight_is_degraded_and_named(references, pictures, name):
    finding = judge(references, pictures, in_one_place(pictures, DAMAGE[name]))
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("'cat face' (seed 3): ")
    assert len(finding.exhibits) == 1
    assert finding.next_step.endswith(finding.exhibits[0].file_name)


@pytest.mark.parametrize("name", ["black tile", "noise"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_gross_damage_falls_below_the_looser_floors_too(references, pictures, name, precision):
    damaged = in_one_place(pictures, DAMAGE[name])
    assert judge(references, pictures, damaged, precision).outcome is Outcome.DEGRADED


def test_the_worst_tile_is_the_damaged_one(references, pictures):
    finding = judge(references, pictures, in_one_place(pictures, DAMAGE["black tile"]))
    assert finding.exhibits[0].tile_box == (32, 64, 64, 96)


def test_two_swapped_prompts_are_both_shown(references, pictures):
    first, second = list(pictures)[:2]
    swapped = pictures | {first: pictures[second], second: pictures[first]}
    finding = judge(references, pictures, swapped)
    assert finding.outcome is Outcome.DEGRADED
    assert {one.prompt for one in finding.exhibits} == {
        "red apple",
        "smiling face with sunglasses",
    }


def test_all_black_is_broken(pictures):
    black = np.zeros_like(next(iter(pictures.values())))
    record = ImageRecord("x", 0, "a" * 64, 128, 128, 0.0, describe_image(black).faults)
    seen = Soundness((record,), ImageRequest("x", 0), 20, None)
    (finding,) = judge_observation(seen, "fp32", None, {})
    assert finding.outcome is Outcome.BROKEN
    assert "black frame" in finding.reason


def test_the_references_themselves_pass(references, pictures):
    assert judge(references, pictures, pictures).outcome is Outcome.PASS


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_level_of_rounding_here_and_there_passes(references, pictures, precision):
    dice = np.random.default_rng(3)

    def round_otherwise(image):
        off = dice.choice([-1, 0, 1], image.shape, p=[0.02, 0.96, 0.02])
        return (image.astype(int) + off).clip(0, 255).astype(np.uint8)

    noisy = {key: round_otherwise(image) for key, image in pictures.items()}
    assert judge(references, pictures, noisy, precision).outcome is Outcome.PASS


def test_a_small_loss_on_every_image_is_seen_by_the_paired_test_alone(references, pictures):
    """Blur too slight for any single floor, measured as the legal noise of no image."""
    floors = references.listed.floors["bf16"]
    noise = tuple(PairNoise(key, 1.0, 1.0) for key in pictures)
    records = tuple(
        ImageRecord(
            prompt=entry.prompt,
            seed=entry.seed,
            sha256="a" * 64,
            width=128,
            height=128,
            entropy_bits=entry.entropy_bits,
            scores=(
                ImageScores("reference", entry.sha256, 0.993, 45.0, 0.99, (0, 0, 32, 32), False),
            ),
        )
        for entry in references.listed.images
    )
    seen = ImageParity("reference", records, tuple(pictures))
    outcomes = [
        {one.outcome for one in judge_observation(seen, "bf16", each, references.entropies())}
        for each in (replace(floors, pairs=()), replace(floors, pairs=noise))
    ]
    assert outcomes == [{Outcome.PASS}, {Outcome.PASS, Outcome.DEGRADED}]


def _rounded(pixels):
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _desaturate(image):
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    return _rounded(grey + (image - grey) * 0.98)


SUBTLE = {
    "brightness +1": lambda image: _rounded(image + 1.0),
    "brightness -1": lambda image: _rounded(image - 1.0),
    "red +2": lambda image: _rounded(image + np.array([2.0, 0, 0])),
    "saturation -2 %": _desaturate,
    "gamma 1.02": lambda image: _rounded(255 * (image / 255.0) ** (1 / 1.02)),
    "contrast -1 %": lambda image: _rounded((image - 127.5) * 0.99 + 127.5),
    "blur 0.4 px": lambda image: _rounded(gaussian_filter(image * 1.0, (0.4, 0.4, 0))),
    "a column cropped": lambda image: np.concatenate([image[:, 1:], image[:, -1:]], axis=1),
    "noise 0.5": lambda image: _rounded(
        image + np.random.default_rng(0).normal(0, 0.5, image.shape)
    ),
}


@pytest.mark.parametrize("name", SUBTLE)
def test_damage_to_colour_and_contrast_that_structure_hides_is_degraded(references, pictures, name):
    """None of these fell below a floor while SSIM, PSNR and entropy were all that was scored."""
    everywhere = {key: SUBTLE[name](image) for key, image in pictures.items()}
    assert judge(references, pictures, everywhere).outcome is Outcome.DEGRADED
    one = judge(references, pictures, in_one_place(pictures, SUBTLE[name]))
    assert one.outcome is Outcome.DEGRADED


@pytest.mark.parametrize("name", SUBTLE)
def test_the_same_damage_falls_below_the_floors_of_an_exact_machine(pictures, name):
    for image in pictures.values():
        damaged = SUBTLE[name](image)
        scores = compute_scores("baseline", "b" * 64, image, damaged)
        record = ImageRecord("", 0, "a" * 64, 128, 128, 5.0, scores=(scores,))
        found = judge_images([record], "baseline", EXACT_MACHINE_FLOORS, {})
        assert found.outcome is Outcome.DEGRADED
