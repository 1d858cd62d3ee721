import pytest

from sdperf.judging.floors import (
    ANCHOR_COMPONENTS,
    STRICTEST_COMPONENT,
    choose_component_floor,
    choose_trajectory_rms,
    derive_floors,
)
from sdperf.record.floors import ComponentFloor, PairNoise
from sdperf.record.observation import Rung


def rung(name, sort="legal", precision="fp32", **changes):
    fields = {
        "images": 8,
        "ssim_mean": 1.0,
        "ssim_min": 1.0,
        "worst_tile_ssim_min": 1.0,
        "psnr_db_mean": None,
        "psnr_db_min": None,
        "worst_tile_psnr_db_min": None,
        "entropy_drop_bits_max": 0.0,
    }
    return Rung(name=name, sort=sort, precision=precision, **fields | changes)


def test_floors_lie_a_margin_below_the_worst_legal_noise():
    noisy = rung(
        "another thread count",
        ssim_min=0.99,
        worst_tile_ssim_min=0.9,
        psnr_db_min=40.0,
        worst_tile_psnr_db_min=33.0,
        entropy_drop_bits_max=0.1,
        components={"vae": ComponentFloor(50.0, 0.9999)},
        trajectory_rms=0.01,
    )
    floors = derive_floors([rung("the same again"), noisy], "fp32", "ladder.json")
    assert (floors.ssim, floors.worst_tile_ssim) == (0.985, 0.88)
    assert (floors.psnr_db, floors.worst_tile_psnr_db) == (37.0, 30.0)
    assert floors.entropy_drop_bits == 0.15
    assert floors.components["vae"] == ComponentFloor(44.0, 0.9996)
    assert floors.trajectory_rms == 0.02
    assert "another thread count" in floors.evidence
    assert "ladder.json" in floors.evidence


def test_a_silent_machine_does_not_make_floors_that_another_one_cannot_keep():
    floors = derive_floors([rung("the same again", trajectory_rms=0.0)], "fp32", "")
    assert (floors.ssim, floors.psnr_db, floors.worst_tile_psnr_db) == (0.995, 45.0, 38.0)
    assert floors.components["denoiser"] == STRICTEST_COMPONENT
    assert floors.trajectory_rms == 0.001


def test_a_real_change_sets_no_floor_and_fp32_noise_is_legal_everywhere():
    rungs = [
        rung("other threads", ssim_min=0.97),
        rung("fp16", precision="fp16", ssim_min=0.99),
        rung("bf16", precision="bf16", ssim_min=0.8),
        rung("5 steps", sort="change", precision=None, ssim_min=0.1),
    ]
    assert derive_floors(rungs, "fp32", "").ssim == 0.965
    assert derive_floors(rungs, "fp16", "").ssim == 0.965
    assert derive_floors(rungs, "bf16", "").ssim == 0.795


def test_each_pair_keeps_its_worst_legal_scores():
    rungs = [
        rung("a", pairs=(PairNoise("k", 0.99, 0.9), PairNoise("l", 1.0, 1.0))),
        rung("b", pairs=(PairNoise("k", 0.98, 0.95),)),
    ]
    assert derive_floors(rungs, "fp32", "").pairs == (
        PairNoise("k", 0.98, 0.9),
        PairNoise("l", 1.0, 1.0),
    )


def test_an_unmeasured_precision_has_no_floors():
    with pytest.raises(ValueError, match="bf16"):
        derive_floors([rung("a")], "bf16", "")


def test_without_measured_floors_the_anchors_speak():
    assert choose_component_floor("fp16", "vae", None) == ANCHOR_COMPONENTS["fp16"]
    assert choose_trajectory_rms("fp32", None) == 0.02
