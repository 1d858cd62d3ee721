"""The ONNX Runtime engine: parts exported by torch's own exporter, run on the CPU or CUDA."""

from __future__ import annotations

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.protocol import Engine


def make_engine(choice: EngineChoice) -> Engine:
    """Make the engine of a choice.

    Raises:
        ImportError: onnxruntime, onnx or onnxscript is missing or damaged.
    """
    from sdperf.engines.onnx.engine import OnnxEngine

    return OnnxEngine(choice)
