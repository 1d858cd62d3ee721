"""From a part to an OpenVINO file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

import torch

from sdperf.engines.exporting import quiet_export
from sdperf.engines.openvino.complaints import explain_complaint
from sdperf.engines.openvino.importing import FrontEndManager, TorchFXPythonDecoder, openvino
from sdperf.engines.openvino.normalising import spread_group_norms
from sdperf.engines.protocol import Part
from sdperf.errors import EngineError
from sdperf.settings import ENGINE

MODEL_NAME: Final = "model.xml"


def convert_part(part: Part, path: Path, *, half: bool = False) -> None:
    """Convert a part, with any number of rows; weights lie in a file beside it.

    `openvino.convert_model` is not called: it would report its use over the network, as importing
    OpenVINO does; see `sdperf.engines.openvino.importing`.

    Args:
        part: The part.
        path: Where the ``.xml`` file goes; its folder exists.
        half: Whether weights are stored as float16, which is exact for a part in float16.

    Raises:
        EngineError: torch cannot export the part, or OpenVINO lacks one of its operators.
        OSError: The files cannot be written.
    """
    try:
        with torch.no_grad(), quiet_export():
            model = read_program(_export(part))
    except Exception as error:
        raise EngineError(
            f"the {part.name} cannot be converted to OpenVINO",
            got=explain_complaint(error),
            expected="operators that torch.export and OpenVINO know",
            hint=f"{ENGINE} torch",
        ) from error
    for name, port in zip(part.inputs, model.inputs, strict=True):
        port.get_tensor().set_names({name})
    model.reshape(list_shapes(part, rows=-1))
    spread_group_norms(model)
    try:
        openvino.save_model(model, path, compress_to_fp16=half)
        openvino.Core().read_model(path)  # a disk that filled up is not told when saving
    except RuntimeError as error:
        raise OSError(explain_complaint(error)) from error


def list_shapes(part: Part, rows: int) -> dict[str, list[int]]:
    """Return the shape of each input; -1 stands for any number of rows."""
    return {
        name: list(one.shape) if name in part.fixed else [rows, *one.shape[1:]]
        for name, one in part.inputs.items()
    }


def read_program(program: Any) -> Any:
    """Read what torch exported.

    Args:
        program: A `torch.export.ExportedProgram`.

    Returns:
        An `openvino.Model`.
    """
    decoder = TorchFXPythonDecoder.from_exported_program(program)
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


def _export(part: Part) -> Any:
    """Export it in float32, which holds every value of the 16-bit formats."""
    module, inputs = part.module, dict(part.inputs)
    if any(one.dtype in (torch.float16, torch.bfloat16) for one in module.parameters()):
        module = copy.deepcopy(module).float()
    for name, one in inputs.items():
        inputs[name] = one.float() if one.is_floating_point() else one
    rows = torch.export.Dim.AUTO
    shapes = tuple(None if name in part.fixed else {0: rows} for name in inputs)
    return torch.export.export(module, tuple(inputs.values()), dynamic_shapes=shapes)
