"""Subjects whose time is one operator's: what a thread says of it, beside a small model."""

from __future__ import annotations

import itertools
from typing import Any, Final

from sdperf.models.subject import PipelineRequest

_ROWS: Final = 4096
_WIDTH: Final = 320
_IN_A_ROW: Final = 60
"""Layer normalisations of 64 by 64 places, as in the outer blocks of Stable Diffusion 1.5 at 512 by
512: 15 a step, over four steps."""


def layer_norms(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with layer normalisations in onnxruntime before it decodes.

    What comes out is added to the latents times zero.
    """
    pipeline = request.load()
    normalise = _open_layer_norms()
    decode = pipeline.vae.decode

    def decode_after(latents: Any, *arguments: Any, **named: Any) -> Any:
        return decode(latents + 0.0 * normalise(), *arguments, **named)

    pipeline.vae.decode = decode_after
    return pipeline


def _open_layer_norms() -> Any:
    """Return a function that runs them one after another, on one thread."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    given = generator.standard_normal((_ROWS, _WIDTH), np.float32)
    names = [f"x{number}" for number in range(_IN_A_ROW + 1)]
    graph = helper.make_graph(
        [
            helper.make_node("LayerNormalization", [before, "scale", "shift"], [after])
            for before, after in itertools.pairwise(names)
        ],
        "layer_norms",
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, given.shape)],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, given.shape)],
        [
            numpy_helper.from_array(generator.uniform(0.5, 2.0, _WIDTH).astype(np.float32), name)
            for name in ("scale", "shift")
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def normalise() -> float:
        (found,) = session.run(None, {names[0]: given})
        return float(found[0, 0])

    return normalise
