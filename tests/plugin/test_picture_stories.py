"""Life stories of sessions that draw from a picture beside the prompt, told on tiny pipelines."""

import json
import re
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from sdperf.cli import main
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.pool import WorkerPool
from tests.support.stories import unwrap

SUITE = Path(__file__).parents[2] / "benchmarks"

SUBJECTS = """
from diffusers import StableDiffusionImg2ImgPipeline

def plain(request):
    return request.load()

def over_the_picture(request):
    text = request.load()
    return StableDiffusionImg2ImgPipeline(**text.components, requires_safety_checker=False)

def steered(request):
    from evidence.mapped_pipelines.pictures import build_sd_controlnet
    return build_sd_controlnet()

def damaged_denoiser(request):
    pipeline = request.load()
    block = pipeline.unet.mid_block
    forward = block.forward
    block.forward = lambda *arguments, **named: forward(*arguments, **named) * 0.2
    return pipeline

def damaged_encoder(request):
    pipeline = request.load()
    forward = pipeline.vae.encoder.forward
    pipeline.vae.encoder.forward = lambda pixels: forward(pixels) * 1.5
    return pipeline

def a_step_less(request):
    pipeline = request.load()
    class Lazy(type(pipeline)):
        def get_timesteps(self, steps, strength, device):
            timesteps, left = super().get_timesteps(steps, strength, device)
            return timesteps[1:], left - 1
    pipeline.__class__ = Lazy
    return pipeline
"""


@pytest.fixture(scope="module", autouse=True)
def networks_of_the_steered():
    """Import them before a session inside this one does, which would forget them at its end."""
    import evidence.mapped_pipelines.pictures  # noqa: F401


@pytest.fixture
def run(bench, pytester):
    pytester.makepyfile(subjects=SUBJECTS)

    def run(*arguments, **changes):
        changes = {"steps": 5, "task": "image-to-image"} | changes
        return bench(*arguments, **changes)

    return run


def read_flat(result):
    """Return what was printed as one line: where it wraps depends on the length of a path."""
    return " ".join(result.stdout.str().split())


def records(pytester):
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    return [one["extra_info"]["sdperf"] for one in document["benchmarks"]]


def test_a_text_model_draws_over_the_picture_that_ships(run, pytester):
    result = run("-k", "latency")
    assert result.ret == 0
    assert "strength 0.8, image-to-image from the default picture, 32 x" in read_flat(result)
    (record,) = records(pytester)
    picture = record["workload"]["picture"]
    assert (picture["task"], picture["strength"]) == ("image-to-image", 0.8)
    assert picture["arguments"] == ["image", "strength"]
    assert record["execution"]["picture_arguments"] == ["image", "strength"]
    assert record["execution"]["steps"] in (4, 5)  # PNDM takes one more
    assert record["stages"]["encode_image_s"] > 0
    assert record["stages"]["whole_s"] is None


def test_one_s_own_picture_and_mask_are_in_the_record(run, pytester, unwatched):
    Image.new("RGB", (40, 30), "red").save(pytester.path / "mine.png")
    Image.new("L", (40, 30), 255).save(pytester.path / "mask.png")
    files = {"input_image": "mine.png", "mask": "mask.png", "strength": 1}
    result = run("-k", "latency", task=None, **files)
    assert result.ret == 0
    said = r"\), strength 1, inpaint from picture mine\.png \(\w{8}\), mask mask\.png \(\w{8}\), "
    assert re.search(said, read_flat(result))
    picture = records(pytester)[0]["workload"]["picture"]
    assert picture["arguments"] == ["image", "mask_image", "strength"]
    # Another picture is another workload.
    assert run("-k", "latency", "--benchmark-save=one", task=None, **files).ret == 0
    Image.new("RGB", (40, 30), "blue").save(pytester.path / "mine.png")
    again = run("-k", "latency", "--benchmark-compare=0001", task=None, **files)
    unwrap(again).fnmatch_lines(["*INCOMPARABLE*another workload: picture was * and is *"])


def test_a_function_that_returns_such_a_pipeline_is_given_the_default_picture(
    run, pytester, unwatched
):
    result = run("-k", "latency", task=None, subject="subjects:over_the_picture", guidance=3)
    assert result.ret == 0
    unwrap(result).fnmatch_lines(["*image-to-image from the default picture*"])
    assert records(pytester)[0]["workload"]["picture"]["strength"] == 0.8


def test_a_pipeline_that_leaves_a_step_out_is_broken(run, unwatched):
    assert run("-k", "latency", subject="subjects:plain", scheduler="DDIMScheduler").ret == 0
    result = run("-k", "latency", subject="subjects:a_step_less", scheduler="DDIMScheduler")
    assert result.ret == 1
    unwrap(result).fnmatch_lines(["*BROKEN*asked for 4 steps at strength 0.8, executed 3*"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "edit"}, "*cannot be opened for edit*"),
        ({"mask": "mask.png"}, "*takes no mask; got: --sd-mask*"),
        ({"input_image": "absent.png"}, "*absent.png is no file*"),
        ({"task": "text-to-image", "strength": 0.5}, "*from the prompt alone*--sd-strength 0.5*"),
        ({"strength": 0.1}, "*the strength leaves no step to draw*"),
        ({"strength": 2}, "*--sd-strength cannot be used*0.01 to 1*"),
        ({"engine": "onnx"}, "*--sd-engine cannot be used; got: 'onnx'*the prompt alone*"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name_before_anything_is_loaded(
    run, pytester, changes, message
):
    Image.new("L", (40, 30), 255).save(pytester.path / "mask.png")
    result = run(**changes)
    assert result.ret == 4
    result.stderr.fnmatch_lines([message])
    result.stderr.no_fnmatch_line("*Traceback*")


@pytest.mark.long
@pytest.mark.parametrize("task", ["image-to-image", "inpaint"])
def test_the_suite_passes_a_sound_pipeline_and_finds_a_damaged_denoiser(run, task):
    cases = (SUITE, "-k", "not engine and not optimisations", "--deselect", "test_soak.py")
    changes = {"task": task, "mode": "sync,async", "images": 8}
    result = run(*cases, **changes, subject="subjects:plain")
    assert result.ret == 0, result.stdout.str()
    sound = unwrap(result)
    sound.fnmatch_lines(["components?fp32?*denoiser*PASS"])
    sound.fnmatch_lines(["trajectory?fp32?*PASS"])
    sound.fnmatch_lines(["batch?fp32?*PASS"])
    sound.no_fnmatch_line("*BROKEN*")
    damaged = run(*cases, **changes, subject="subjects:damaged_denoiser")
    assert damaged.ret == 1
    unwrap(damaged).fnmatch_lines(["components?fp32?*denoiser*DEGRADED"])


@pytest.mark.parametrize("gate", ["components", "trajectory"])
@pytest.mark.parametrize("subject", ["over_the_picture", "steered"])
def test_what_a_function_returns_is_held_to_itself_from_the_same_picture(
    run, pytester, gate, subject
):
    pytester.makepyfile(test_quality=f"def test_it(sd_quality):\n    sd_quality.{gate}()\n")
    result = run("test_quality.py", task=None, subject=f"subjects:{subject}", guidance=3)
    assert result.ret == 0
    unwrap(result).fnmatch_lines(["it*PASS"])


@pytest.mark.parametrize(
    ("gate", "seen"),
    [
        ("components", "*only the picture encoder differs*"),
        ("trajectory", "trajectory*DEGRADED"),
    ],
)
def test_a_damaged_encoder_of_the_picture_is_found_and_named(
    run, pytester, gate, seen, every_recording
):
    pytester.makepyfile(test_quality=f"def test_{gate}(sd_quality):\n    sd_quality.{gate}()\n")
    assert run("test_quality.py", subject="subjects:plain").ret == 0
    result = run("test_quality.py", subject="subjects:damaged_encoder")
    assert result.ret == 1
    unwrap(result).fnmatch_lines([seen])


def test_images_of_a_picture_task_are_judged_once_it_was_calibrated(
    run, pytester, tiny_folder, monkeypatch
):
    for module in ("cli.quality", "run.quality.bench"):
        monkeypatch.setattr(f"sdperf.{module}.FEWEST_IMAGES", 2)
    pytester.makepyfile(test_quality=(SUITE / "test_quality.py").read_text())
    (pytester.path / "prompts.txt").write_text("red apple\na blue car\n")
    asked = ("test_quality.py", "-k", "images")
    given = {"prompts": "prompts.txt", "device": "cpu"}
    bare = run(*asked, **given)
    unwrap(bare).fnmatch_lines(
        ["*sdperf quality calibrate *--task image-to-image --strength 0.8 --precision fp32*"]
    )
    typed = {
        "model": tiny_folder("smallest-sd"),
        "steps": 5,
        "size": "32x32",
        "precision": "fp32",
    } | given
    options = [f"--{name}={value}" for name, value in typed.items()]
    with monkeypatch.context() as patch:
        own = partial(WorkerPool, host_factory=InProcessHost)
        patch.setattr("sdperf.run.pool.WorkerPool", own)
        assert main(["quality", "calibrate", *options, "--task=image-to-image", "--seeds=1"]) == 0
    judged = run(*asked, **given)
    assert judged.ret == 0
    unwrap(judged).fnmatch_lines(["*2 images identical to the reference*PASS*"])
    assert run(*asked, "--sd-strict", strength=0.5, **given).ret == 1
