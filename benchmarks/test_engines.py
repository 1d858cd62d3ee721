"""How many times as fast as plain diffusers on torch is each engine, and are images right?

The plain pipeline of the same precision is measured in turns with it, on a worker of its own. Name
engines with ``--sd-engine onnx,onnx-int8``; unasked, what is installed and native is measured, and
the rest is skipped with a reason.
"""

import pytest


@pytest.mark.sd_matrix("precision", "threads", "engine")
def test_engine_latency_gain(sd_gain, sd_engine):
    """One image, prompt in to PNG out."""
    if sd_engine == "torch":
        pytest.skip("torch is what the other engines are measured against")
    sd_gain.latency()
