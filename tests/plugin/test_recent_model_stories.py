"""The suite that sdperf ships, on tiny pipelines of 2025 and 2026: green, and red where damaged."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import sdperf.run.suite
from tests.support.stories import unwrap

SUITE = Path(__file__).parents[2] / "benchmarks"
MODELS = ("z-image", "flux2-klein", "qwen-image")
SAMPLING = {"z-image": "0", "flux2-klein": "1", "qwen-image": "3"}
CLASSES = {
    "z-image": "ZImagePipeline",
    "flux2-klein": "Flux2KleinPipeline",
    "qwen-image": "QwenImagePipeline",
}

SUBJECTS = """
import torch

from evidence.mapped_pipelines.recent import RECENT


def damage(pipeline):
    def turn(_block, _arguments, output):
        return tuple(-each for each in output) if isinstance(output, tuple) else -output

    blocks = [
        part for name in ("layers", "transformer_blocks")
        for part in getattr(pipeline.transformer, name, ())
    ]
    blocks[-1].register_forward_hook(turn)
    return pipeline


def damaged(request):
    return damage(request.load())


def build(name):
    return lambda request: RECENT[name]().to(request.device, request.torch_dtype)


def build_damaged(name):
    return lambda request: damage(build(name)(request))


z_image, flux2_klein, qwen_image = map(build, ("z-image", "flux2-klein", "qwen-image"))
z_image_damaged, flux2_klein_damaged, qwen_image_damaged = map(
    build_damaged, ("z-image", "flux2-klein", "qwen-image")
)
"""


@pytest.fixture
def suite(bench, pytester, tiny_folder, monkeypatch):
    """Run the shipped suite, all that ``auto`` chooses, on one of the models."""
    pytester.makepyfile(subjects=SUBJECTS)
    (pytester.path / "test_bench.py").unlink()
    shutil.copytree(SUITE, pytester.path / "benchmarks")  # accepted sessions go below it

    def run(name, *arguments, subject=None, model=True, in_process=False, **changes):
        if not in_process:
            monkeypatch.setattr(sdperf.run.suite, "count_cpu_threads", lambda: 2)
        options = {
            "model": tiny_folder(name) if model else None,
            "precision": None,
            "mode": None,
            "subject": subject,
            "guidance": SAMPLING[name],
            "max_slowdown": "100000%",
            "max_suite_slowdown": "100000%",
            "confirm": 0,
            "max_load": "100000%+1000s",
            "max_first_call": "100000%+1000s",
            "max_growth": "100000%+64GiB",
            **changes,
        }
        return bench("benchmarks", *arguments, in_process=in_process, **options)

    return run


def read_outcomes(pytester):
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    return document["sdperf"]


def check_words(done, name):
    """Look at each line for what must not stand below figures that are right."""
    said = " ".join(done.stdout.str().split())
    assert "BROKEN" not in said
    assert "INCOMPARABLE" not in said
    assert "Traceback" not in said
    assert f"{CLASSES[name]} is called whole: its stages cannot be measured alone" in said
    for line in done.outlines:
        assert len(line) <= 100 or line.startswith(("sdperf", "rootdir", "plugins", "benchmark:"))


def check_stages(done):
    """Each stage table's shares come to the whole image."""
    tables = [line.split() for line in done.outlines if " us " in line or " ms " in line]
    shares = [float(cells[3]) for cells in tables if len(cells) > 4 and cells[4] == "%"]
    assert shares == [] or abs(sum(shares) / 100 - round(sum(shares) / 100)) < 0.02


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_default_session_of_a_folder_is_green_and_red_where_the_denoiser_is_damaged(
    suite, accept, name
):
    first = suite(name)
    assert first.ret == 0, first.stdout.str()
    check_words(first, name)
    check_stages(first)
    assert accept() == 0
    again = suite(name, "--benchmark-compare")
    assert again.ret == 0, again.stdout.str()
    check_words(again, name)
    damaged = suite(name, "--benchmark-compare", subject="subjects:damaged")
    check_damage(damaged)
    unwrap(damaged).fnmatch_lines(["DEGRADED  *components?fp32?*denoiser*"])


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_default_session_of_a_subject_is_green_and_red_where_the_denoiser_is_damaged(
    suite, accept, name
):
    subject = f"subjects:{name.replace('-', '_')}"
    first = suite(name, subject=subject, model=False)
    assert first.ret == 0, first.stdout.str()
    check_words(first, name)
    assert accept() == 0
    damaged = suite(name, "--benchmark-compare", subject=f"{subject}_damaged", model=False)
    check_damage(damaged)


def check_damage(done):
    """The pictures of every timed case are worse than the accepted ones, and speed is no reason."""
    said = done.stdout.str()
    assert done.ret == 1
    for word in ("BROKEN", "SLOWER", "HEAVIER", "Traceback"):
        assert word not in said
    table = [line.split() for line in done.outlines if line.startswith(("latency", "throughput"))]
    assert len(table) == 16
    assert {cells[-1] for cells in table} == {"DEGRADED"}


@pytest.mark.parametrize("name", MODELS)
def test_one_picture_of_each_is_green_and_a_damaged_denoiser_is_named(
    suite, accept, name, unwatched
):
    few = ("-k", "test_latency and fp32-sync-1w or test_components and fp32 or test_trajectory")
    options = {"in_process": True, "precision": "fp32", "rounds": 1}
    first = suite(name, *few, **options)
    assert first.ret == 0, first.stdout.str()
    assert accept() == 0
    damaged = suite(name, *few, "--benchmark-compare", subject="subjects:damaged", **options)
    assert damaged.ret == 1
    found = unwrap(damaged)
    found.fnmatch_lines(["latency?fp32-sync-1w? *DEGRADED"])
    found.fnmatch_lines(["DEGRADED  components?fp32?: denoiser*only the denoiser differs*"])
    found.fnmatch_lines(["DEGRADED  trajectory?fp32?: *the latents part at step ? of 2*"])


def test_a_subject_of_another_class_is_judged_beside_itself(suite):
    done = suite(
        "z-image",
        "-k", "test_components or test_trajectory or test_images",
        in_process=True, precision="fp32,bf16", subject="subjects:z_image", model=False,
    )  # fmt: skip
    assert done.ret == 0, done.stdout.str()
    unwrap(done).fnmatch_lines(
        [
            "components?fp32? *text encoder, denoiser, vae identical*PASS",
            "components?bf16? *PASS",
            "trajectory?bf16? *PASS",
            "NO BASELINE  images?fp32?*next: --benchmark-autosave keeps these images*",
        ]
    )


def lay_beside(folder, root):
    """Lay a model's folder beside a file of its denoiser's weights; return the file."""
    shutil.copytree(folder, root / "tuned")
    weights = root / "tuned" / "transformer" / "diffusion_pytorch_model.safetensors"
    return weights.rename(root / "tuned.safetensors")


def read_record(pytester):
    document = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    return document["benchmarks"][0]["extra_info"]["sdperf"]


def test_a_single_file_is_measured_like_its_folder(
    bench, pytester, tiny_folder, tmp_path, unwatched
):
    few = {"guidance": "0", "size": "32x32"}
    folder = bench("-k", "latency", model=tiny_folder("z-image"), **few)
    assert folder.ret == 0
    before = read_record(pytester)
    file = bench("-k", "latency", model=lay_beside(tiny_folder("z-image"), tmp_path), **few)
    assert file.ret == 0
    after = read_record(pytester)
    assert after["model_hash"] != before["model_hash"]
    assert after["images"][0]["sha256"] == before["images"][0]["sha256"]
    (tmp_path / "tuned").rename(tmp_path / "elsewhere")
    alone = bench("-k", "latency", model=tmp_path / "tuned.safetensors", **few)
    assert alone.ret == 4
    said = " ".join(alone.stderr.str().split())
    assert "a file of weights, which lacks the configuration of its pipeline" in said
    assert f"ln -s FOLDER {tmp_path / 'tuned'}" in said


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft (sdperf[lora])")
def test_a_lora_is_told_and_its_cases_are_compared_with_no_others(
    bench, pytester, tiny_folder, tmp_path, unwatched
):
    layer = "transformer.transformer_blocks.0.attn.to_q"
    style = tmp_path / "style.safetensors"
    save_file(
        {f"{layer}.lora_A.weight": torch.ones(2, 32),
         f"{layer}.lora_B.weight": torch.ones(32, 2)}, style,
    )  # fmt: skip
    few = {"guidance": "3", "model": tiny_folder("qwen-image")}
    assert bench("-k", "latency", "--benchmark-autosave", **few).ret == 0
    plain = read_record(pytester)
    assert plain["loras"] == []
    done = bench("-k", "latency", "--benchmark-compare", lora=f"{style}:0.8:fused", **few)
    (used,) = read_record(pytester)["loras"]
    assert (used["name"], used["scale"], used["is_fused"]) == ("style.safetensors", 0.8, True)
    said = " ".join(done.stdout.str().split())
    assert f"with style.safetensors ({used['sha256'][:8]}) at 0.8, fused on cpu" in said
    assert "INCOMPARABLE latency" in said
    assert "another workload: no LoRA was loaded into the model, and now style.safetensors" in said
