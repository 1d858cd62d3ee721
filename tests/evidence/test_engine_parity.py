"""What the tool says of an engine that is torch itself, and of one that cannot."""

import json

import pytest

from evidence.engine_parity.__main__ import main
from sdperf.engines.catalogue import ENGINES
from tests.support.tiny_pipelines import tiny_folder
from tests.support.toy_engine import toy_choice

__all__ = ["tiny_folder"]


def test_parts_and_images_are_held_against_torch_and_results_add_up(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    for choice in (toy_choice(), toy_choice("toy-broken", options={"fault": "convert"})):
        monkeypatch.setitem(ENGINES, choice.name, choice)
    path = tmp_path / "parity.json"
    typed = [
        "--model",
        str(tiny_folder("sd")),
        "--prompts",
        "1",
        "--steps",
        "2",
        "--sd-device",
        "cpu",
    ]
    main([*typed, "--engines", "toy-broken,toy", "--json", str(path)])
    assert "toy-broken: the unet cannot be made a toy" in capsys.readouterr().out
    (result,) = json.loads(path.read_text())["results"]
    assert [one["component"] for one in result["components"]] == [
        "text_encoder",
        "unet",
        "vae_decoder",
    ]
    assert all(one["identical"] for one in result["components"])
    assert result["worst_ssim"] == pytest.approx(1)
    assert result["most_entropy_lost_bits"] == 0 < result["least_entropy_bits"]
    assert result["model_bytes"] == {"text_encoder": 12, "unet": 4, "vae_decoder": 11}
    main([*typed, "--engines", "toy", "--precision", "fp16", "--json", str(path)])
    both = json.loads(path.read_text())["results"]
    assert [one["precision"] for one in both] == ["fp16", "fp32"]
    assert both[1] == result
    assert 35 < min(one["psnr_db"] for one in both[0]["components"]) < 100
