"""The sitting of several sides: turns, figures, what a failure costs, and a real tiny one."""

import json

import pytest
import torch

from evidence.h200_levers import __main__ as command
from evidence.h200_levers import sitting as sitting_module
from evidence.h200_levers.models import MODELS, PROMPTS
from evidence.h200_levers.sides import PLAIN, RECIPE, copy_pipeline
from evidence.h200_levers.turns import find_break_even, summarise, take_turns
from evidence.mapped_pipelines.recent import RECENT
from sdperf.pipeline.optimisations.catalogue import parse_optimisations


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
        assert parse_optimisations(text)


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
    output = tmp_path / "found.json"
    sets = "fused_projections+real_rotary+stored_png,text_graphs,embed_cache+fast_png"
    monkeypatch.setattr(
        "sys.argv",
        [
            "h200_levers",
            "z_image_turbo",
            *("--tiny", "--device", "cpu", "--seconds", "100", "--turns", "3"),
            *("--json", str(output), "--sets", sets),
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
    assert any(name.endswith("a stream of 4") for name in sides)
    assert found["flop"]["denoise"] > 0
    assert sides[PLAIN]["gain"] == 1.0
    printed = capsys.readouterr().out
    assert "text_graphs: ConfigurationError" in printed
    assert torch.__version__ in printed


def test_a_set_that_breaks_in_its_turns_is_left_out(tmp_path, monkeypatch):
    saved = []
    sitting = sitting_module.Sitting(
        "z_image_turbo", MODELS["z_image_turbo"], "cpu", is_tiny=True, save=saved.append
    )
    monkeypatch.setattr(sitting_module, "make_recipe", sitting_module.make_plain)
    real = sitting._time_round

    def time_round(side, turn):
        if turn > 2 and side.name == "stored_png":
            raise RuntimeError("out of memory")
        return real(side, turn)

    monkeypatch.setattr(sitting, "_time_round", time_round)
    sitting.measure(0.0, ("stored_png",), turns_only=True)
    assert "out of memory" in sitting.found["sides"]["stored_png"]["failed"]
    assert "gain" in sitting.found["sides"][PLAIN]
