"""Life stories of the quality suite, told through pytester on the tiny pipeline."""

import json
import re
from functools import partial

import pytest

from sdperf.cli import main
from sdperf.images.png import decode_png
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.pool import WorkerPool
from sdperf.store.runs import read_run
from tests.support.stories import unwrap

QUALITY = """
def test_soundness(sd_quality):
    sd_quality.soundness()

def test_repeatability(sd_quality):
    sd_quality.repeatability()

def test_components(sd_quality):
    sd_quality.components()

def test_trajectory(sd_quality):
    sd_quality.trajectory()

def test_images(sd_quality):
    sd_quality.images()

def test_batch(sd_quality):
    sd_quality.batch()
"""

DAMAGE = """
import torch

def vae_in_the_wrong_scale(request):
    pipeline = request.load()
    pipeline.vae.register_to_config(scaling_factor=pipeline.vae.config.scaling_factor * 3)
    return pipeline

def nan_latents(request):
    pipeline = request.load()
    step = pipeline.scheduler.step
    def broken(output, timestep, sample, **named):
        latents = step(output, timestep, sample, **named)
        if timestep < 600:
            latents[0][:] = float("nan")
        return latents
    pipeline.scheduler.step = broken
    return pipeline

def only_the_first_of_a_batch(request):
    pipeline = request.load()
    decode = pipeline.vae.decode
    def wrong(latents, **named):
        image = decode(latents, **named)
        image[0][1:] = image[0][1:].flip(-1)
        return image
    pipeline.vae.decode = wrong
    return pipeline

def unseeded(request):
    pipeline = request.load()
    forward = pipeline.unet.forward
    def noisy(sample, *arguments, **named):
        noise = torch.randn(sample.shape, generator=generator)
        return forward(sample + 0.5 * noise, *arguments, **named)
    generator = torch.Generator().manual_seed(0)
    pipeline.unet.forward = noisy
    return pipeline

def other_text(request):
    pipeline = request.load()
    encode = pipeline.encode_prompt
    def swapped(prompt, *arguments, **named):
        prompt = [text[::-1] for text in prompt] if isinstance(prompt, list) else prompt
        return encode(prompt, *arguments, **named)
    pipeline.encode_prompt = swapped
    return pipeline
"""


@pytest.fixture
def quality(bench, pytester):
    """Run the quality suite of the tiny pipeline; returns pytester's result."""
    pytester.makepyfile(test_bench=QUALITY)
    pytester.makepyfile(damage=DAMAGE)

    def run(*arguments, **options):
        return bench("-p", "no:randomly", *arguments, **({"steps": 4} | options))

    return run


def test_every_question_is_answered_once_and_kept(quality, pytester):
    result = quality()
    result.assert_outcomes(passed=6)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "soundness?fp32? *8 images, 4 steps, entropy * bits or more * PASS",
            "repeatability?fp32? *same-process identical* PASS",
            "components?fp32? *denoiser, vae * PASS",
            "trajectory?fp32? * PASS",
            "images?fp32? *nothing to compare the images with* NO BASELINE",
            "batch?fp32? * PASS",
            "*next: sdperf quality calibrate*",
            "6 cases: 1 NO BASELINE, 5 PASS",
        ]
    )
    kept = read_run(pytester.path / ".sdperf/last-run.json").quality
    assert [type(case.seen).__name__ for case in kept] == [
        "Soundness",
        "Repeats",
        "ComponentParity",
        "TrajectoryParity",
        "ImageParity",
        "ImageParity",
    ]
    assert [case.outcome for case in kept] == ["PASS"] * 4 + ["NO BASELINE", "PASS"]
    assert not list((pytester.path / ".sdperf/evidence").glob("*.png"))


@pytest.mark.parametrize(
    ("subject", "case", "lines"),
    [
        (
            "vae_in_the_wrong_scale",
            "components",
            ["DEGRADED  components*: vae (pixels): PSNR*", "*only the vae differs*"],
        ),
        ("other_text", "components", ["DEGRADED  components*: text encoder (prompt_embeds)*"]),
        (
            "nan_latents",
            "soundness",
            ["BROKEN  soundness*: 'red apple' (seed 0): the latents hold NaN * step ? of 4 on"],
        ),
        ("nan_latents", "trajectory", ["BROKEN  trajectory*NaN*step ? of 4*"]),
        (
            "unseeded",
            "repeatability",
            ["DEGRADED  repeatability*the same process made another image*"],
        ),
    ],
)
def test_damage_turns_its_own_gate_red(quality, subject, case, lines):
    result = quality("-k", case, subject=f"damage:{subject}")
    assert result.ret == 1
    result.stdout.fnmatch_lines(lines)


def test_a_wrong_image_in_a_batch_is_laid_side_by_side(quality, pytester):
    result = quality("-k", "batch", subject="damage:only_the_first_of_a_batch")
    assert result.ret == 1
    unwrap(result).fnmatch_lines(
        [
            "DEGRADED  batch?fp32?: * (seed ?): worst tile * SSIM*; colour difference *"
            "next: open .sdperf/evidence/*-single-image-*.png*",
            "look at: .sdperf/evidence (2 images beside what they should be)",
        ]
    )
    pictures = sorted((pytester.path / ".sdperf/evidence").glob("*.png"))
    assert len(pictures) == 2
    assert decode_png(pictures[0].read_bytes()).shape[1] > 3 * 320


def test_evidence_of_an_earlier_run_does_not_stay(quality, pytester):
    quality("-k", "batch", subject="damage:only_the_first_of_a_batch")
    assert quality("-k", "batch").ret == 0
    assert not list((pytester.path / ".sdperf/evidence").glob("*.png"))


def test_the_suite_is_spread_over_precision_alone(quality):
    result = quality("--collect-only", "-q", precision="fp32,bf16", mode="sync,async")
    result.stdout.fnmatch_lines(["*::test_images?fp32?", "*::test_images?bf16?"])
    result.stdout.no_fnmatch_line("*sync*")


def test_calibrated_then_unchanged_then_damaged(quality, pytester, tiny_folder):
    flags = ["--device=cpu", "--steps=2", "--size=32x32", f"--out={pytester.path}"]
    with pytest.MonkeyPatch.context() as patched:
        pool = partial(WorkerPool, host_factory=InProcessHost)
        patched.setattr("sdperf.run.pool.WorkerPool", pool)
        assert main(["quality", "calibrate", f"--model={tiny_folder('smallest-sd')}", *flags]) == 0

    unchanged = quality("-k", "images", steps=2)
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(["images?fp32? *8 images identical to the reference * PASS"])

    damaged = quality("-k", "images", steps=2, subject="damage:vae_in_the_wrong_scale")
    assert damaged.ret == 1
    unwrap(damaged).fnmatch_lines(
        [
            "DEGRADED  images?fp32?: * (seed ?): * SSIM 0.* against the reference, floor 0.9*; "
            "colour difference * (CIEDE2000) against the reference, limit *; 8 of 8 images fell*"
            "next: open .sdperf/evidence/*-reference-*.png*",
            "look at: .sdperf/evidence (8 images beside what they should be)",
        ]
    )


def test_a_run_with_quality_cases_can_be_accepted_and_shows_them(
    quality, pytester, script, accept, capsys
):
    pytester.makepyfile(
        test_bench="""
        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_soundness(sd_quality):
            sd_quality.soundness()
        """
    )
    assert quality("--benchmark-json=out/run.json").ret == 0
    seen = json.loads((pytester.path / "out" / "run.json").read_text())["sdperf_quality"]
    named = set(re.findall('"sha256": "([0-9a-f]{64})"', json.dumps(seen)))
    beside = {path.stem for path in (pytester.path / "out" / "images").iterdir()}
    assert len(named) == 8
    assert named <= beside
    assert accept() == 0
    kept = {path.stem for path in (pytester.path / "benchmarks").rglob("*.png")}
    assert kept
    assert kept < beside  # nothing is held against the quality suite's images later
    capsys.readouterr()
    assert main(["baseline", "show", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "test_soundness[fp32]: 8 images, 4 steps, entropy" in shown
    assert "bits or more: PASS" in shown


def test_a_run_that_asks_for_times_alone_says_what_it_left_out(quality):
    result = quality("--benchmark-only")
    result.assert_outcomes(skipped=6)
    result.stdout.fnmatch_lines(
        [
            "6 cases: 6 skipped",
            "skipped: 6 x not timed by pytest-benchmark (the quality suite), because of*",
        ]
    )


@pytest.mark.long
def test_under_xdist_it_fails_with_the_reason(quality):
    result = quality("-n", "1", "-k", "soundness")
    unwrap(result).fnmatch_lines(["*the quality suite cannot run under xdist*leave -n out*"])
