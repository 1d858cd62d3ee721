"""Does memory grow from picture to picture, and do rounds become slower? Ask: ``--sd-soak 10m``."""

import pytest


@pytest.mark.sd_matrix("precision", "threads", "engine", "optimisations")
def test_soak(sd_benchmark):
    """One image after the other in one process, for as long as the option says."""
    sd_benchmark.soak()
