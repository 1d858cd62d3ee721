"""Turn an exported ONNX file into one whose weights are 8-bit integers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sdperf.engines.exporting import first_line, quiet_export
from sdperf.errors import EngineError
from sdperf.settings import ENGINE

_TAKES_WEIGHTS: Final = {"Conv": (1, 0), "Gather": (0, 0), "Gemm": (1, 0), "MatMul": (1, -1)}
"""The operators with weights: the number of that input, and the axis of its channels."""

_FEWEST_IN_A_ROW: Final = 16
"""Fewest values that share a scale: with fewer, the scales would take the saved memory."""

_LARGEST: Final = 127
_INLINE_BYTES: Final = 1024
"""Tensors of fewer bytes are stored in the model's own file."""


def quantise_part(source: Path, target: Path, *, products: bool) -> None:
    """Store a model's weights in 8-bit integers.

    Names of values, which nothing reads, are shortened: of a small network they are a tenth.

    Args:
        source: An exported model.
        target: Path of the quantised model to write; its folder exists.
        products: Whether products are computed in 8-bit integers too, activations rounded call by
            call. Else weights are turned back into floats when they are used.

    Raises:
        EngineError: The quantiser cannot take the model.
        OSError: A file cannot be written.
    """
    try:
        model = _multiply_in_int8(source, target) if products else onnx.load(source)
        store_weights_in_int8(model)
        shorten_names(model)
        onnx.save_model(
            model,
            target,
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=f"{target.name}.data",
            size_threshold=_INLINE_BYTES,
        )
    except OSError:
        raise
    except Exception as error:
        raise EngineError(
            f"onnxruntime cannot quantise {source.parent.name}",
            got=first_line(error),
            hint=f"{ENGINE} onnx",
        ) from error


def store_weights_in_int8(model: Any) -> None:
    """Keep weights in float32 as int8 with a scale for each channel, in place.

    Args:
        model: An `onnx.ModelProto` that holds its tensors.
    """
    graph = model.graph
    axes = {}
    for node in graph.node:
        if node.op_type in _TAKES_WEIGHTS:
            place, axis = _TAKES_WEIGHTS[node.op_type]
            axes[node.input[place]] = axis
    restoring = []
    for constant in list(graph.initializer):
        if constant.data_type != onnx.TensorProto.FLOAT or constant.name not in axes:
            continue
        axis = axes[constant.name] % len(constant.dims)
        weight = numpy_helper.to_array(constant)
        if weight.size < _FEWEST_IN_A_ROW * weight.shape[axis]:
            continue
        names = [f"{constant.name}_int8", f"{constant.name}_scales"]
        places, scales = quantise_channels(weight, axis)
        graph.initializer.remove(constant)
        graph.initializer.append(numpy_helper.from_array(places, names[0]))
        graph.initializer.append(numpy_helper.from_array(scales, names[1]))
        restoring.append(helper.make_node("DequantizeLinear", names, [constant.name], axis=axis))
    nodes = [*restoring, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def quantise_channels(
    weight: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a weight to 255 values in each channel.

    Args:
        weight: float32 of any shape.
        axis: Axis of its channels.

    Returns:
        int8 of the same shape, and the scales that it is to be multiplied with, (channels,).
    """
    others = tuple(one for one in range(weight.ndim) if one != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(_LARGEST)
    return np.rint(weight / scales).astype(np.int8), scales.ravel()


def shorten_names(model: Any) -> None:
    """Number all values but inputs and outputs, and drop names of nodes and noted shapes, in place.

    A model with graphs inside its nodes is left alone: they see names of the graph around them.
    """
    graph = model.graph
    if any(one.HasField("g") or one.graphs for node in graph.node for one in node.attribute):
        return
    kept = {one.name for one in (*graph.input, *graph.output)}
    numbers: dict[str, str] = {"": ""}

    def shorten(name: str) -> str:
        return name if name in kept else numbers.setdefault(name, f"_{len(numbers):x}")

    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = map(shorten, node.input)
        node.output[:] = map(shorten, node.output)
    for constant in graph.initializer:
        constant.name = shorten(constant.name)
        constant.ClearField("doc_string")
    graph.ClearField("value_info")


def _multiply_in_int8(source: Path, target: Path) -> Any:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=target.parent) as folder, quiet_export():
        bare, path = Path(folder) / "bare.onnx", Path(folder) / target.name
        model = onnx.load(source)
        # onnxruntime before 1.32 infers all shapes again and stumbles over those of the exporter.
        model.graph.ClearField("value_info")
        onnx.save_model(model, bare, save_as_external_data=True, location=f"{bare.name}.data")
        quantize_dynamic(bare, path, weight_type=QuantType.QUInt8, use_external_data_format=True)
        return onnx.load(path)
