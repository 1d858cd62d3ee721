"""The sitting of several sides: turns, figures, what a failure costs, and a real tiny one."""

import contextlib
import json
import sys
import types
from dataclasses import replace

import diffusers
import pytest
import torch
from packaging.version import Version

from evidence.h200_levers import __main__ as command
from evidence.h200_levers import sitting as sitting_module
from evidence.h200_levers.models import MODELS, PROMPTS
from evidence.h200_levers.sides import PLAIN, RECIPE, copy_pipeline, make_cache_dit
from evidence.h200_levers.turns import find_break_even, summarise, take_turns
from evidence.mapped_pipelines.recent import RECENT
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import parse_optimisations
from sdperf.run.worker.counting import PEAK_SIZES


def test_sides_take_turns_in_both_orders_until_the_time_is_over():
    now, played = [0.0], []

    def side(name, seconds):
        def work(turn):
            played.append((name, turn))
            now[0] += seconds
            return seconds

        return work

    noted = []
    turns = take_turns(
        {"a": side("a", 2.0), "b": side("b", 1.0)},
        13.0,
        lambda name, seconds: noted.append((name, seconds)),
        clock=lambda: now[0],
    )
    assert turns == 4
    assert [name for name, _ in played] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert noted[0] == ("a", 2.0)


def test_three_turns_are_made_when_there_is_no_time():
    assert take_turns({"a": lambda _: 1.0}, 0.0, lambda *_: None, clock=lambda: 0.0) == 3


def test_figures_of_turns():
    found = summarise([2.0, 2.2, 1.8, 2.0, 2.0, 2.0], [1.0, 1.1, 1.0, 1.0, 0.8, 1.0], 3.0, 23.0)
    assert found["seconds_per_image"] == 1.0
    assert found["gain"] == 2.0
    assert found["gain_interval"] == [1.8, 2.5]
    assert found["gain_coverage"] == 0.969
    assert found["until_tenth_image_s"] == 32.0
    assert found["pays_from_image"] == 21


@pytest.mark.parametrize(
    ("figures", "image"),
    [
        ((2.0, 1.5, 32.0, 0.5), 31),
        ((2.0, 1.5, 1.0, 0.5), 1),
        ((2.0, 1.5, 32.0, 1.5), None),
    ],
)
def test_a_set_pays_from_the_image_at_which_it_has_taken_no_more(figures, image):
    assert find_break_even(*figures) == image
    if image is not None and image > 1:
        first, plain, own_first, own = figures
        assert own_first + (image - 1) * own <= first + (image - 1) * plain
        assert own_first + (image - 2) * own > first + (image - 2) * plain


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_set_can_be_meant(name):
    assert MODELS[name].sets
    for text in MODELS[name].sets:
        names, _, steps = text.partition("@")
        assert parse_optimisations(names)
        assert not steps or 0 < int(steps) < MODELS[name].steps


def test_prompts_are_new_and_of_one_length():
    assert len(set(PROMPTS)) == len(PROMPTS)
    assert len({len(prompt) for prompt in PROMPTS}) == 1


def test_a_copy_shares_weights_and_changes_alone():
    pipeline = RECENT["z-image"]()
    copied = copy_pipeline(pipeline)
    block, own = pipeline.transformer.layers[0], copied.transformer.layers[0]
    assert own is not block
    assert own.feed_forward.w1.weight is block.feed_forward.w1.weight
    assert copied.vae.decoder.conv_in.weight is not pipeline.vae.decoder.conv_in.weight
    copied.transformer.forward = None
    assert pipeline.transformer.forward is not None
    assert copied.tokenizer is pipeline.tokenizer


def test_a_tiny_sitting_is_measured_and_survives_the_failure_of_a_set(
    tmp_path, monkeypatch, capsys
):
    def fail(*_):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(sitting_module, "make_recipe", fail)
    monkeypatch.setitem(PEAK_SIZES, "cpu", (64,))
    output = tmp_path / "found.json"
    sets = "fused_projections+real_rotary+stored_png,text_graphs,embed_cache+fast_png"
    sets += ",stored_png@1"
    profiled = []

    def list_kernels(work, calls):
        profiled.append(work())
        return [("triton_poi_fused_silu", 1.5), ("nvjet_sm90_hsh", 3.25)]

    monkeypatch.setattr(sitting_module, "list_kernels", list_kernels)
    monkeypatch.setattr(
        "sys.argv",
        [
            "h200_levers",
            "z_image_turbo",
            *("--tiny", "--device", "cpu", "--seconds", "100", "--turns", "3"),
            *("--json", str(output), "--sets", sets, "--kernels"),
        ],
    )
    command.main()
    found = json.loads(output.read_text())
    sides = found["sides"]
    assert sides[RECIPE]["failed"] == "RuntimeError: no compiler here"
    assert "feature of CUDA devices" in sides["text_graphs"]["failed"]
    best = sides["fused_projections+real_rotary+stored_png"]
    assert best["turns"] == 3
    assert best["ssim"] > 0.999
    assert set(best["stages"]) >= {"encode_prompt_s", "denoise_s", "decode_latents_s", "deliver_s"}
    assert "gain" in sides["embed_cache+fast_png"]
    if Version(diffusers.__version__) >= Version("0.39"):  # below, the last step draws nothing
        assert sides["stored_png in 1 steps"]["ssim"] < best["ssim"]
    assert len(profiled) == 2
    assert best["kernels_ms"] == 4.75
    assert best["kernels_ms_by_kind"] == {
        "matrix product": 3.25,
        "fused norms and elementwise": 1.5,
    }
    assert any(name.endswith("a stream of 4") for name in sides)
    assert found["flop"]["denoise"] > 0
    assert sides[PLAIN]["gain"] == 1.0
    printed = capsys.readouterr().out
    assert "text_graphs: ConfigurationError" in printed
    assert torch.__version__ in printed


def test_all_pictures_that_were_asked_for_are_compared():
    model = replace(MODELS["z_image_turbo"], pictures=3)
    sitting = sitting_module.Sitting("z", model, "cpu", is_tiny=True, save=lambda _: None)
    sitting.measure(0.0, ("stored_png",), turns_only=True, peers=(), with_stream=False)
    sides = sitting.found["sides"]
    assert sides["stored_png"]["pictures_compared"] == 3
    assert sides["stored_png"]["ssim"] == 1.0
    assert set(sides) == {PLAIN, "stored_png"}


def test_a_set_that_takes_too_long_to_begin_costs_the_others_nothing():
    model = MODELS["z_image_turbo"]
    sitting = sitting_module.Sitting(
        "z", model, "cpu", is_tiny=True, save=id, first_call_limit_s=0.05
    )

    def hang(*_, **__):
        while True:
            pass

    sitting._begin("slow", hang, is_fresh=False)
    assert sitting.found["sides"]["slow"]["failed"] == "TimeoutError: given up after 0.05 s"


def test_a_compiler_that_swallows_the_end_of_its_time_is_given_up_too(monkeypatch):
    monkeypatch.setattr(sitting_module, "_AGAIN_S", 0.05)

    def swallow_once():
        with contextlib.suppress(TimeoutError):
            while True:
                pass
        sum(1 for _ in range(100_000_000))  # ends some day where nothing ends it

    given_up = sitting_module._given_up_after(0.05)
    with pytest.raises(TimeoutError, match=r"given up after 0\.05 s"), given_up:
        swallow_once()


def test_cache_dit_takes_turns_where_it_is_installed(monkeypatch):
    enabled = []
    stand_in = types.SimpleNamespace(
        enable_cache=enabled.append, set_compile_configs=lambda: enabled.append("compiled")
    )
    monkeypatch.setitem(sys.modules, "cache_dit", stand_in)
    pipeline = RECENT["z-image"]()
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **_: enabled.append(type(self).__name__)
    )
    side = make_cache_dit(pipeline, MODELS["z_image_turbo"].shrunk().workload("z"))
    assert side.stages.pipeline is not pipeline
    assert enabled[:2] == [side.stages.pipeline, "compiled"]
    assert set(enabled[2:]) == {"ZImageTransformerBlock"}
    monkeypatch.setitem(sys.modules, "cache_dit", None)
    with pytest.raises(ConfigurationError, match="cache-dit is not installed"):
        make_cache_dit(pipeline, MODELS["z_image_turbo"].workload("z"))


def test_a_second_session_is_given_the_folder_that_the_first_kept_code_in(tmp_path, monkeypatch):
    kept = tmp_path / "compiled" / "of-this-version"
    kept.mkdir(parents=True)
    (kept / "kernel.so").write_bytes(b"x" * 2**20)
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    asked = types.SimpleNamespace(model="z_image_turbo", device="cpu", tiny=True)
    started = []

    def run(line, **_):
        started.append(line)
        return types.SimpleNamespace(stdout='noise\n{"first_call_s": 4.5}\n', stderr="")

    monkeypatch.setattr(command.subprocess, "run", run)
    found = command._start_second_session(asked, "compile+kept_code")
    assert found["kept_mib"] == 1.0
    assert found["first_call_s"] == 4.5
    assert started[0][-3:] == ["--first-call-of", "compile+kept_code", "--tiny"]


def test_a_set_that_breaks_in_its_turns_is_left_out(tmp_path, monkeypatch):
    saved = []
    sitting = sitting_module.Sitting(
        "z_image_turbo", MODELS["z_image_turbo"], "cpu", is_tiny=True, save=saved.append
    )
    real = sitting._time_round

    def time_round(side, turn):
        if turn > 2 and side.name == "stored_png":
            raise RuntimeError("out of memory")
        return real(side, turn)

    monkeypatch.setattr(sitting, "_time_round", time_round)
    sitting.measure(0.0, ("stored_png",), turns_only=True, peers=(), with_stream=False)
    assert "out of memory" in sitting.found["sides"]["stored_png"]["failed"]
    assert "gain" in sitting.found["sides"][PLAIN]
