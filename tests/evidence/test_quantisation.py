"""The page of quantised weights says what it saw, slower sets and refused ones included."""

import dataclasses

import pytest

from evidence.quantisation.__main__ import choose_sets
from evidence.quantisation.measuring import Row
from evidence.quantisation.table import compute_share, format_page
from sdperf.pipeline.optimisations.catalogue import ALL_DEVICES, parse_optimisations
from sdperf.record.json import format_record
from sdperf.record.measurement import Gain, ImageScores, MemoryUsage
from sdperf.record.workload import Variant

GAIN = Gain(
    against=Variant(),
    ratio=0.75,
    lower=0.7,
    upper=0.8,
    coverage=0.75,
    plain_rounds_s=(1.5, 1.5),
    plain_images_per_round=1,
)
SCORES = ImageScores("fp32-sync", "0" * 64, 0.9882, 33.5, 0.9774, (0, 0, 64, 64), identical=False)
ROW = Row(
    "int8_weights",
    load_s=0.4,
    first_call_s=2.6,
    seconds=2.0,
    plain_s=1.5,
    gain=GAIN,
    memory=MemoryUsage(peak_rss_bytes=2**29, weight_bytes={"unet": 500, "vae": 125}),
    components={"text encoder": 59.2, "denoiser": 41.0, "vae": None},
    fp32=SCORES,
    plain=SCORES,
    pictures=4,
    entropy_bits=4.16,
)


def document(*rows):
    return {
        "commands": ["python -m evidence.quantisation --json a.json"],
        "fingerprint": "cpu--chip",
        "packages": {"torch": "2.13.0"},
        "workload": {"model": "embedded", "num_inference_steps": 20},
        "subject": None,
        "precision": "fp32",
        "threads": 1,
        "plain_weight_bytes": {"unet": 2000, "vae": 500},
        "rows": [format_record(row) for row in rows],
    }


def test_bytes_are_held_against_the_same_weights_in_16_bits():
    made = document(ROW)
    assert compute_share(made["rows"][0], made) == pytest.approx(0.5)
    assert compute_share(made["rows"][0], {**made, "precision": "bf16"}) == pytest.approx(0.25)


def test_the_page_shows_costs_pictures_and_what_is_slower():
    page = format_page(document(ROW))
    assert "| `int8_weights` | 625 B | 0.500 | 512 MiB | 1.500 -> 2.000 | 0.75 times" in page
    assert "| `int8_weights` | 59.2 | 41.0 |  | 4 | 0.9882 | 0.9774 | 33.5 | 4.16 |" in page
    assert "- **slower** than plain: `int8_weights` takes 1.33 times as long" in page


def test_what_is_not_surely_slower_is_not_called_so():
    even = dataclasses.replace(ROW, gain=dataclasses.replace(GAIN, upper=1.05))
    assert "slower" not in format_page(document(even))


def test_without_rounds_the_page_says_so_and_has_the_rest():
    untimed = dataclasses.replace(
        ROW,
        **dict.fromkeys(("load_s", "first_call_s", "seconds", "plain_s", "gain")),
        memory=MemoryUsage(weight_bytes={"unet": 500, "vae": 125}),
    )
    page = format_page(document(untimed))
    assert "| `int8_weights` | 625 B | 0.500 |" in page
    assert "| not timed |" in page
    assert "| 0.9882 | 0.9774 |" in page
    assert "slower" not in page


def test_a_refused_set_has_its_reason_and_no_figures():
    refused = Row("float8", refused="float8 cannot be used on cpu")
    page = format_page(document(ROW, refused))
    assert "- not measured: `float8`: float8 cannot be used on cpu" in page
    assert "| `float8`" not in page


@pytest.mark.parametrize("kind", ALL_DEVICES)
def test_each_quantisation_is_measured_alone_and_with_the_best_exact_set(kind):
    sets = choose_sets(kind)
    assert "int8_weights" in sets
    assert ("float8" in sets) == (kind == "cuda")
    assert all("+".join(parse_optimisations(one)) == one for one in sets)
    assert len(sets) % 2 == 1
