"""Measurements made by hand, for tests that need one."""

from sdperf.record.environment import Environment
from sdperf.record.measurement import ImageRecord, ImageScores, Measurement
from sdperf.record.stages import StageTimes
from sdperf.record.workload import Variant, Workload

ENVIRONMENT = Environment(
    chip="Test Chip",
    device_kind="cpu",
    device_name="",
    machine="x86_64",
    os_name="debian",
    os_version="12",
    python="3.11.7",
    ram_bytes=16 * 2**30,
    cpu_cores=4,
    packages={"torch": "2.13.0+cpu"},
)
WORKLOAD = Workload(
    model="embedded", prompts=("red apple",), num_inference_steps=20, guidance_scale=5.0
)


def scores(against="reference", ssim=1.0, tile=1.0, sha256="b" * 64):
    return ImageScores(
        against=against,
        against_sha256=sha256,
        ssim=ssim,
        psnr_db=None if ssim == 1.0 else 40.0,
        worst_tile_ssim=tile,
        worst_tile_box=(0, 0, 32, 32),
        identical=ssim == 1.0,
    )


def image(**changes):
    fields = {
        "prompt": "red apple",
        "seed": 0,
        "sha256": "a" * 64,
        "width": 128,
        "height": 128,
        "entropy_bits": 5.0,
        "scores": (scores(),),
    }
    return ImageRecord(**fields | changes)


def measurement(**changes):
    fields = {
        "kind": "latency",
        "workload": WORKLOAD,
        "variant": Variant(),
        "environment": ENVIRONMENT,
        "model_hash": "c" * 64,
        "images_per_round": 1,
        "rounds_s": (1.0, 1.1, 0.9),
        "images": (image(),),
        "stages": StageTimes(1.0, 0.001, 0.01, 0.9, 0.08, 0.005, (0.05,) * 18),
        "repeatable": True,
    }
    return Measurement(**fields | changes)
