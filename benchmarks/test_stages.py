"""How long does each stage take alone, on fixed inputs?"""

import pytest


@pytest.mark.sd_matrix("precision", "threads", "engine", "optimisations")
@pytest.mark.parametrize("stage", ["encode_prompt", "denoise", "decode_latents", "deliver"])
def test_stage(sd_benchmark, stage):
    """One stage of one image; denoising is all of its steps."""
    sd_benchmark.stage(stage)
