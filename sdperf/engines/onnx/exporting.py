"""Export a part to an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from sdperf.engines.exporting import first_line, quiet_export
from sdperf.engines.protocol import Part
from sdperf.errors import EngineError
from sdperf.settings import ENGINE

MODEL_NAME: Final = "model.onnx"
OPSET: Final = 20
"""The first version of the operators with GELU; onnxruntime runs it since 1.17."""


def export_part(part: Part, path: Path) -> None:
    """Export a part with any number of rows; weights lie in a file beside it.

    Args:
        part: The part.
        path: Path of the ``.onnx`` file to write; its folder exists.

    Raises:
        EngineError: The exporter knows no translation of one of its operators.
        OSError: The file cannot be written.
    """
    rows = torch.export.Dim("rows")
    shapes = tuple(None if name in part.fixed else {0: rows} for name in part.inputs)
    try:
        with torch.no_grad(), quiet_export():
            program = torch.onnx.export(
                part.module,
                tuple(part.inputs.values()),
                dynamo=True,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
                optimize=True,
            )
    except Exception as error:
        raise EngineError(
            f"the {part.name} cannot be exported to ONNX",
            got=first_line(error),
            expected="operators that torch.onnx can translate",
            hint=f"{ENGINE} torch",
        ) from error
    if program is None:
        raise EngineError(f"the {part.name} cannot be exported to ONNX", got="no program")
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the Python lines of each node: a third of a small file
    with quiet_export():
        program.save(path, external_data=True)
