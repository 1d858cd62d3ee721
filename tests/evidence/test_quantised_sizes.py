"""Bytes of int8 weights at the size of a real model, from shapes alone."""

import json

import pytest

pytest.importorskip(
    "torchao.quantization", reason="torchao is not installed: pip install 'sdperf[quantise]'"
)

from evidence.quantisation.sizes import main


@pytest.mark.long
def test_int8_takes_half_of_the_fp16_bytes_at_the_size_of_sd15(tmp_path, capsys):
    path = tmp_path / "sizes.json"
    main(["--models", "sd15", "--json", str(path)])
    rows = json.loads(path.read_text())["sizes"]
    assert [row["optimisations"] for row in rows] == ["int8_weights", "int8_dynamic"]
    for row in rows:
        assert row["plain_bytes"] == pytest.approx(2 * 1.066e9, rel=0.01)
        assert row["encoder_bytes"] == pytest.approx(2 * 34.2e6, rel=0.01)
        assert row["share"] <= 0.5
        # Without the encoder on both sides, or with it on both, int8 is half and what goes with it.
        assert 0.5 < row["share_both_without"] < 0.503
        assert 0.5 < row["share_with_encoder"] < 0.503
    assert "sd15 fp16 int8_weights: share 0.4" in capsys.readouterr().out
