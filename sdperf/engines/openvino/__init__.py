"""The OpenVINO engine: parts exported by torch, one compiled program for each number of rows."""

from __future__ import annotations

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.protocol import Engine


def make_engine(choice: EngineChoice) -> Engine:
    """Make the engine of a choice.

    Raises:
        ImportError: openvino is missing or damaged.
    """
    from sdperf.engines.openvino.engine import OpenVinoEngine

    return OpenVinoEngine(choice)
