"""Running an OpenVINO file: programs of fixed shapes, fed from torch's tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from sdperf.engines.openvino.complaints import explain_complaint
from sdperf.engines.openvino.converting import list_shapes
from sdperf.engines.openvino.importing import openvino
from sdperf.engines.protocol import Part
from sdperf.errors import EngineError, GenerationError
from sdperf.record.workload import Precision
from sdperf.settings import ENGINE, PRECISION, SIZE

DEVICE: Final = "CPU"
MOST_PROGRAMS: Final = 3
"""Programs of a part that are kept: one image's rows, a batch's, and those of its remainder. Each
has the weights in an order of its own."""

_HINTS: Final[Mapping[torch.dtype, tuple[str, Precision]]] = {
    torch.float32: ("f32", "fp32"),
    torch.bfloat16: ("bf16", "bf16"),
    torch.float16: ("f16", "fp16"),
}
"""The plugin's word for a number format, and ours."""


def name_precision(dtype: torch.dtype) -> Precision:
    """Name a number format that the plugin knows as sdperf does."""
    return _HINTS[dtype][1]


def require_arithmetic(core: Any, precision: Precision) -> None:
    """Refuse a number format that the processor has no instructions for.

    The plugin would compute in float32 and not say so.

    Args:
        core: The `openvino.Core`.
        precision: The format.

    Raises:
        EngineError: The processor lacks it.
    """
    ability = precision.upper()
    abilities = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    if ability not in abilities:
        raise EngineError(
            f"OpenVINO cannot run {precision} on this processor",
            got=", ".join(sorted(abilities)),
            expected=f"{ability} among what the processor computes in",
            hint=f"{PRECISION} fp32",
        )


class ProgramPart:
    """A part as programs for the CPU, one for each number of rows.

    Programs of any number of rows are a quarter slower, so each is compiled when its number comes
    for the first time, which is before anything is measured.

    Args:
        core: The `openvino.Core`.
        path: The converted file.
        part: The part that was converted.
        threads: CPU threads of a call.

    Raises:
        EngineError: The file cannot be read, or the plugin cannot compile it.
    """

    def __init__(self, core: Any, path: Path, part: Part, threads: int) -> None:
        self._core, self._path, self._part, self._threads = core, path, part, threads
        self._dtype: torch.dtype = part.network.dtype
        self._batched = next(name for name in part.inputs if name not in part.fixed)
        self._sizes = {name: tuple(one.shape[1:]) for name, one in part.inputs.items()}
        self._requests: OrderedDict[int, Any] = OrderedDict()
        self._find_request(part.rows)

    def set_threads(self, threads: int) -> None:
        """Compile again what is compiled, for another number of threads."""
        self._threads = threads
        rows = list(self._requests)
        self._requests.clear()
        for each in rows:
            self._find_request(each)

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it; tensors of the CPU are read where they lie."""
        first = inputs[self._batched]
        for name, size in self._sizes.items():
            if tuple(inputs[name].shape[1:]) != size:
                raise GenerationError(
                    f"the {self._part.name} was converted for another size",
                    got=f"{name} of {'x'.join(map(str, inputs[name].shape[1:]))}",
                    expected="x".join(map(str, size)),
                    hint=f"one {SIZE} for each run",
                )
        request = self._find_request(first.shape[0])
        fed = [_to_host(inputs[name]) for name in self._part.inputs]  # alive until it ran
        try:
            for index, tensor in enumerate(fed):
                request.set_input_tensor(index, openvino.Tensor(tensor.numpy(), shared_memory=True))
            request.infer()
        except RuntimeError as error:
            raise GenerationError(
                f"OpenVINO failed in the {self._part.name}", got=explain_complaint(error)
            ) from error
        # A copy: the request writes the next call's results where it wrote these.
        return tuple(
            torch.from_numpy(request.get_output_tensor(index).data.copy()).to(
                first.device, self._dtype
            )
            for index in range(len(self._part.outputs))
        )

    def _find_request(self, rows: int) -> Any:
        if rows in self._requests:
            self._requests.move_to_end(rows)
            return self._requests[rows]
        while len(self._requests) >= MOST_PROGRAMS:
            self._requests.popitem(last=False)
        self._requests[rows] = self._compile(rows).create_infer_request()
        return self._requests[rows]

    def _compile(self, rows: int) -> Any:
        hint, precision = _HINTS[self._dtype]
        settings = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            # Pinned threads of two workers would take the same processors.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = self._core.read_model(self._path)
            model.reshape(list_shapes(self._part, rows))
            compiled = self._core.compile_model(model, DEVICE, settings)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO {openvino.get_version().partition('-')[0]} cannot load the "
                f"{self._part.name}",
                got=explain_complaint(error),
                hint=f"{ENGINE} torch, or another version of openvino",
            ) from error
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != hint:
            raise EngineError(
                f"OpenVINO would run the {self._part.name} in another number format",
                got=used,
                expected=precision,
                hint=f"{PRECISION} fp32",
            )
        return compiled


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Place a tensor where and how a program reads it: on the host, in float32 or int64."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", dtype).contiguous()
