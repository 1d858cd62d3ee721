"""``sdperf quality calibrate`` on the tiny pipeline, and the gates that read what it stored."""

import dataclasses
from functools import partial

import pytest
from diffusers import StableDiffusionImg2ImgPipeline

from sdperf.cli import main
from sdperf.models.references import load_references
from sdperf.models.sampling import choose_sampling
from sdperf.models.tasks.choosing import AskedPicture, choose_picture, settle_workload
from sdperf.record.workload import Workload
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.memory import Room
from sdperf.run.pool import WorkerPool
from tests.support.tiny_pipelines import load, save, tiny_folder

__all__ = ["tiny_folder"]

TWO_STEPS = "--steps=2"
"""Of one step, none would be left where a task takes a part of them."""


@pytest.fixture
def calibrate(tiny_folder, monkeypatch, tmp_path, capsys):
    """Calibrate the tiny pipeline inside this process; returns status, output and errors."""
    pool = partial(WorkerPool, host_factory=InProcessHost)
    monkeypatch.setattr("sdperf.run.pool.WorkerPool", pool)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("red apple\na blue car\n")

    def run(*arguments):
        fixed = {
            "--model": tiny_folder("smallest-sd"),
            "--steps": 1,
            "--size": "32x32",
            "--device": "cpu",
            "--prompts": prompts,
            "--out": tmp_path,
        }
        flags = [f"{name}={value}" for name, value in fixed.items()]
        status = main(["quality", "calibrate", *flags, *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def few_images(monkeypatch):
    """Two pictures, one of each prompt, where it matters which and not how many."""
    monkeypatch.setattr("sdperf.cli.quality.FEWEST_IMAGES", 2)
    return ("--seeds", "1")


def test_floors_and_evidence_are_stored_where_the_gates_look(calibrate, tmp_path, monkeypatch):
    monkeypatch.setattr("sdperf.run.quality.calibration.RECORDED_IMAGES", 2)
    status, out, errors = calibrate("--precision", "bf16")
    assert status == 0, errors
    for name in ("the same again", "another thread count", "without oneDNN", "batch of 8", "bf16"):
        assert name in out
    (folder,) = tmp_path.glob("benchmarks/references/*/cpu")
    references = load_references(folder)
    assert (folder / "ladder.json").exists()
    assert len(references.listed.images) == 8
    assert len(list(folder.glob("*.png"))) == 8
    assert set(references.listed.floors) == {"fp32", "bf16"}
    plain, rounded = references.listed.floors["fp32"], references.listed.floors["bf16"]
    assert plain.ssim >= rounded.ssim
    assert plain.components["denoiser"].psnr_db > rounded.components["denoiser"].psnr_db
    assert plain.trajectory_rms < rounded.trajectory_rms
    assert len(plain.pairs) == 8
    assert all(
        references.read(entry.sha256).shape == (32, 32, 3) for entry in references.listed.images
    )


def test_where_fp32_does_not_fit_the_widest_that_does_is_the_reference(
    calibrate, few_images, tmp_path, monkeypatch
):
    monkeypatch.setattr("sdperf.run.memory.choose_widest", lambda *_: "bf16")
    monkeypatch.setattr("sdperf.run.memory.find_room", lambda *_: Room(2**34, 0.7))
    status, out, errors = calibrate("--precision", "fp16", *few_images)
    assert status == 0, errors
    assert "reference: bf16; fp32 does not fit the 11.2 GiB that may be filled of 16.0" in errors
    assert "2 references in bf16, floors" in out
    (folder,) = tmp_path.glob("benchmarks/references/*/cpu")
    listed = load_references(folder).listed
    assert listed.reference_precision == "bf16"
    assert set(listed.floors) == {"bf16", "fp16"}
    assert "images (the same again, a fresh process" in listed.floors["bf16"].evidence
    assert listed.floors["bf16"].evidence.endswith("ladder.json, against bf16")
    assert listed.floors["fp16"].evidence.endswith("ladder.json, against bf16")
    assert "cpu" in listed.made_with["device"]
    assert listed.made_with["fingerprint"]


def test_floors_of_a_picture_task_lie_where_its_session_looks(
    calibrate, few_images, tiny_folder, tmp_path, monkeypatch
):
    asked_for = ("--task", "image-to-image", "--strength", "1", "--precision", "fp32", TWO_STEPS)
    assert calibrate(*asked_for, *few_images)[0] == 0
    (folder,) = tmp_path.glob("benchmarks/references/*/cpu-image-to-image")
    assert not list(tmp_path.glob("benchmarks/references/*/cpu")), "those of prompts alone stay"
    references = load_references(folder)
    model = str(tiny_folder("smallest-sd"))
    asked = AskedPicture(task="image-to-image", strength=1.0)
    chosen = choose_picture(model, asked, is_subject=False)
    given = Workload(model, ("red apple",), 2, 7.5, height=32, width=32, picture=chosen.picture)
    guidance = choose_sampling(model, 2, None).guidance_scale
    settled = settle_workload(
        dataclasses.replace(given, guidance_scale=guidance), chosen.pipeline_class
    )
    assert settled.picture.arguments == ("image", "strength")
    assert references.find(settled.image(0), settled) is not None
    assert references.holds_for(settled)
    weaker = dataclasses.replace(settled.picture, strength=0.5)
    assert not references.holds_for(dataclasses.replace(settled, picture=weaker))


def test_a_folder_of_a_picture_pipeline_is_calibrated_as_what_it_is(
    calibrate, few_images, tiny_folder, tmp_path
):
    pipeline = load(tiny_folder("smallest-sd"))
    kind = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    own = save(kind, tmp_path / "own")
    assert calibrate(f"--model={own}", "--precision", "fp32", TWO_STEPS, *few_images)[0] == 0
    (folder,) = tmp_path.glob("benchmarks/references/*/cpu-image-to-image")
    bare = load_references(folder).listed.images[0].key
    given = Workload(
        str(own),
        ("red apple",),
        2,
        choose_sampling(str(own), 2, None).guidance_scale,
        height=32,
        width=32,
    )
    settled = settle_workload(given, "StableDiffusionImg2ImgPipeline")
    assert bare == settled.image_key(settled.image(0))
    assert bare != given.image_key(given.image(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp8"], "--precision cannot be used; got: fp8"),
        (["--size", "large"], "--size cannot be used; got: large"),
        (["--seeds", "0"], "--seeds cannot be used; got: 0"),
    ],
)
def test_a_bad_argument_is_one_message(calibrate, arguments, message):
    status, _, errors = calibrate(*arguments)
    assert status == 2
    assert message in errors
