"""The Core ML engine: parts converted by coremltools, run on a Mac's GPU or Neural Engine.

Converting works on Linux too, where tests read the converted program; it is run on a Mac only.
"""

from __future__ import annotations

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.protocol import Engine


def make_engine(choice: EngineChoice) -> Engine:
    """Make the engine of a choice.

    Raises:
        ImportError: coremltools is missing or damaged.
    """
    from sdperf.engines.coreml.engine import CoreMlEngine

    return CoreMlEngine(choice)
