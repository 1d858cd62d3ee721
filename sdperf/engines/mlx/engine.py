"""The engine itself: it builds each part's network and exchanges tensors with torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import mlx.core as mx
import torch

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.mlx.networks import Compute, build_network
from sdperf.engines.mlx.tensors import DTYPES, to_mlx, to_torch
from sdperf.engines.mlx.weights import count_bytes
from sdperf.engines.protocol import EngineRequest, Part, PartName, PreparedPart
from sdperf.errors import EngineError, GenerationError
from sdperf.record.workload import Precision
from sdperf.settings import DEVICE, ENGINE, SIZE

_MAX_MESSAGE: Final = 200


class MlxEngine:
    """Runs parts in MLX: on the Apple GPU for pipelines on ``mps``, otherwise on the CPU."""

    def __init__(self, choice: EngineChoice) -> None:
        """Make it.

        Args:
            choice: The engine; its option ``compile`` is ``yes`` where a call is compiled to one
                graph.
        """
        self.provider = "mlx"
        self._is_compiled = choice.options.get("compile") == "yes"

    def require(self, precision: Precision) -> None:
        """Accept every precision of the choice: the runtime computes in each on any machine."""

    def prepare(
        self, parts: Sequence[Part], request: EngineRequest, say: Callable[[str], None]
    ) -> Mapping[PartName, PreparedPart]:
        """Build every part's network from the model's files; nothing is converted or kept.

        Raises:
            EngineError: There is no Apple GPU, or a part needs a computation that is not written
                here.
            ModelError: The files do not hold a part's weights.
        """
        device = _find_device(request)
        self.provider = f"mlx {device.type.name}"
        prepared: dict[PartName, PreparedPart] = {}
        with mx.stream(device):
            for part in parts:
                say(f"mlx: loading the {part.name}")
                dtype = DTYPES[part.network.dtype]
                network, compute = build_network(part, request.model, dtype)
                if self._is_compiled:
                    compute = mx.compile(compute)
                prepared[part.name] = PreparedPart(
                    _RunOnMlx(part, compute, device, dtype), model_bytes=count_bytes(network)
                )
        return prepared

    def set_threads(self, threads: int) -> None:
        """Do nothing: MLX computes on a GPU, or in its own single thread."""
        del threads


class _RunOnMlx:
    """One part: tensors in, tensors out, everything computed when it returns."""

    def __init__(self, part: Part, compute: Compute, device: mx.Device, dtype: mx.Dtype) -> None:
        self._name = part.name
        self._compute = compute
        self._device = device
        self._dtype = dtype
        self._names = tuple(part.inputs)
        self._fixed = part.fixed
        self._torch_dtype: torch.dtype = part.network.dtype

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it; see `sdperf.engines.protocol.RunPart`."""
        first = inputs[self._names[0]]
        try:
            with mx.stream(self._device):
                arrays = [self._place(name, inputs[name]) for name in self._names]
                outputs = self._compute(*arrays)
                mx.eval(*outputs)
        except (RuntimeError, ValueError) as error:
            raise GenerationError(
                f"MLX could not run the {self._name}",
                got=str(error)[:_MAX_MESSAGE],
                hint=f"{ENGINE} torch, or a smaller {SIZE}",
            ) from error
        return tuple(to_torch(output, first.device, self._torch_dtype) for output in outputs)

    def _place(self, name: str, tensor: torch.Tensor) -> mx.array:
        array = to_mlx(tensor)
        is_cast = tensor.is_floating_point() and name not in self._fixed
        return array.astype(self._dtype) if is_cast else array


def _find_device(request: EngineRequest) -> mx.Device:
    if request.device == "cpu":
        return mx.Device(mx.cpu)
    if not mx.metal.is_available():
        raise EngineError(
            "MLX has no Apple GPU here",
            got=f"a pipeline on {request.device}",
            hint=f"{DEVICE} cpu, or on a Mac: pip install --force-reinstall 'sdperf[mlx]'",
        )
    return mx.Device(mx.gpu)
