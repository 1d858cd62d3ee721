"""The list of known regressions: sound entries, commands that exist, a page that is made of it."""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from evidence.known_regressions import (
    _LOWEST,
    PAGE,
    RESULTS,
    Look,
    describe_state,
    format_page,
    judge_sweep,
    read_looks,
    read_regressions,
)
from evidence.known_regressions.subjects import limited_room
from sdperf.bisect.packages import parse_package_steps
from sdperf.cli import make_parser
from tests.support.bisecting import Machine, Planted
from tests.support.sweeping import name_versions, run_sweep, summarise, sweep_question

ROOT = Path(__file__).parents[2]
LISTED = read_regressions()
VERSIONS = name_versions(2)


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.id)
def test_each_names_its_thread_two_versions_and_a_command_that_can_be_typed(one):
    assert one.url.startswith("https://github.com/")
    assert one.url.endswith(f"/{one.id.partition('#')[2]}")
    parsed = make_parser(["sweep"]).parse_args(one.arguments)
    assert len(parse_package_steps(parsed.python_package)) == 2


def test_there_are_eight_and_more_of_each_aspect_and_none_twice():
    assert len({one.id for one in LISTED}) == len(LISTED) >= 8
    assert {one.aspect for one in LISTED} == {"speed", "memory", "pictures", "runs"}
    packages = {"torch", "diffusers", "transformers", "onnxruntime", "mlx"}
    assert packages <= {one.package for one in LISTED}


def test_what_sdperf_runs_is_what_its_own_requirements_say():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package, lowest in _LOWEST.items():
        assert re.search(rf'"{package}>={re.escape(lowest)}[",.]', text), package


def test_the_page_is_made_of_the_list_and_of_what_was_kept():
    looks = read_looks(ROOT / RESULTS)
    made = format_page(LISTED, looks)
    assert (ROOT / PAGE).read_text(encoding="utf-8") == made, (
        "python -m evidence.known_regressions page"
    )
    assert {*looks} <= {one.id for one in LISTED}


def test_nothing_is_found_that_was_not_run_by_this_very_command():
    one = next(one for one in LISTED if one.fits)
    look = Look(one.id, one.command, "found", "said", "chip", "2026-11-30", "1")
    assert describe_state(one, {}) == "not tried yet"
    assert describe_state(one, {one.id: look}) == "found"
    assert describe_state(one, {one.id: replace(look, command="another")}) == "not tried yet"
    gpu = replace(one, needs="gpu")
    assert describe_state(gpu, {}) == "needs a GPU"
    assert describe_state(replace(gpu, before="1.19.0"), {}) == (
        "needs a GPU and older versions than sdperf runs"
    )
    assert (
        describe_state(replace(one, before="1.19.0"), {}) == "needs older versions than sdperf runs"
    )


@pytest.mark.parametrize(
    ("aspect", "planted", "noise", "state"),
    [
        ("speed", Planted(slowdown=0.2), 0.004, "found"),
        ("speed", Planted(slowdown=-0.2), 0.004, "missed"),
        ("speed", Planted(), 0.004, "missed"),
        ("speed", Planted(slowdown=0.03), 0.05, "open"),
        ("memory", Planted(grown_mib=300), 0.004, "found"),
        ("memory", Planted(), 0.004, "missed"),
        ("pictures", Planted(image=True), 0.004, "found"),
        ("pictures", Planted(), 0.004, "missed"),
        ("pictures", Planted(refuses=True), 0.004, "cannot be run"),
        ("runs", Planted(refuses=True), 0.004, "found"),
        ("runs", Planted(image=True), 0.004, "missed"),
    ],
)
def test_a_sweep_is_judged_by_what_the_thread_says(tmp_path, aspect, planted, noise, state):
    machine = Machine({VERSIONS[0]: Planted(), VERSIONS[1]: planted}, noise=noise)
    summary = summarise(run_sweep(tmp_path, sweep_question(VERSIONS), machine))
    one = replace(LISTED[0], aspect=aspect, before="1.0", after="2.0")
    answer, said = judge_sweep(one, summary)
    assert answer == state, said
    assert said


def test_one_that_should_draw_and_does_not_is_not_the_regression(tmp_path):
    machine = Machine({VERSIONS[0]: Planted(refuses=True), VERSIONS[1]: Planted()})
    summary = summarise(run_sweep(tmp_path, sweep_question(VERSIONS), machine))
    one = replace(LISTED[0], aspect="runs", before="1.0", after="2.0")
    assert judge_sweep(one, summary)[0] == "cannot be run"


def test_no_place_of_a_machine_is_kept(tmp_path):
    reason = "Unsupported (/home/me/.cache/x/lib/python3.11/site-packages/diffusers/a.py:5 in f)"
    machine = Machine({VERSIONS[0]: Planted(), VERSIONS[1]: Planted(refuses=True)})
    found = run_sweep(tmp_path, sweep_question(VERSIONS), machine)
    failed = tuple(replace(one, reason=reason) for one in found.state.failed)
    found = replace(found, state=replace(found.state, failed=failed))
    one = replace(LISTED[0], aspect="runs", before="1.0", after="2.0")
    _, said = judge_sweep(one, summarise(found))
    assert said == "2.0: Unsupported (diffusers/a.py:5 in f)"


@pytest.mark.parametrize("one", [one for one in LISTED if one.fits], ids=lambda one: one.id)
def test_a_subject_that_a_command_names_is_there(one):
    subject = make_parser(["sweep"]).parse_args(one.arguments).subject
    if subject is not None:
        module, _, function = subject.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.long
@pytest.mark.parametrize(
    ("subject", "needs", "size_px"),
    [
        ("gemma_prompts", "torch", 32),
        ("z_image", "torch", 32),
        ("single_file", "torch", 64),
        ("free_u", "torch", 64),
        ("qwen_image_edit", "torch", 32),
        ("dilated_convolution", "torch", 64),
        ("many_added_tokens", "torch", 64),
        ("layer_norms", "onnxruntime", 64),
        ("convolution_of_two", "onnxruntime", 64),
        ("mixed_rank_lora", "peft", 64),
        ("lora_of_the_first_layers", "peft", 64),
        ("lora_without_network", "peft", 64),
    ],
)
def test_a_subject_draws_a_picture_with_the_versions_that_are_installed(subject, needs, size_px):
    import torch

    from sdperf.models.known_warnings import known_warnings_ignored
    from sdperf.models.loader import resolve_model
    from sdperf.models.subject import PipelineRequest, load_subject

    pytest.importorskip(needs)
    module = "operators" if subject == "layer_norms" else "subjects"
    make = load_subject(f"evidence.known_regressions.{module}:{subject}")
    pipeline = make(PipelineRequest(resolve_model("embedded"), torch.float32, torch.device("cpu")))
    with known_warnings_ignored():
        drawn = pipeline(
            prompt="a red apple",
            num_inference_steps=2,
            height=size_px,
            width=size_px,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        ).images[0]
    assert drawn.shape == (size_px, size_px, 3)
    assert drawn.std() > 0.01


def test_the_address_space_is_limited_while_it_runs_and_not_afterwards():
    resource = pytest.importorskip("resource")
    if not Path("/proc/self/statm").exists():
        pytest.skip("tells its size elsewhere")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with limited_room(64 << 20), pytest.raises(MemoryError):
        bytearray(512 << 20)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
