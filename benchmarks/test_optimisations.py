"""How many times as fast as plain diffusers is each set of optimisations, and are images right?

The plain pipeline of the same precision is measured in turns with it, on a worker of its own. Name
sets with ``--sd-optimisations channels_last,channels_last+compile``; unasked, what is on by default
on the device is measured. Quantised weights are such names too (`docs/engines.md`):
``int8_weights,int8_weights+compile``.
"""

import pytest


@pytest.mark.sd_matrix("precision", "threads", "optimisations")
def test_latency_gain(sd_gain):
    """One image, prompt in to PNG out."""
    sd_gain.latency()


@pytest.mark.sd_matrix("precision", "mode", "workers", "threads", "optimisations")
def test_throughput_gain(sd_gain):
    """A batch of prompts with delivery, against the plain loop over the same prompts."""
    sd_gain.throughput()


@pytest.mark.sd_matrix(
    *("precision", "threads", "optimisations"),
    skips={"fp32": "the gains in fp32 are in test_latency_gain"},
)
def test_latency_gain_over_fp32(sd_gain):
    """One image, against plain fp32: what the precision and the optimisations give together."""
    sd_gain.latency(against="fp32")
