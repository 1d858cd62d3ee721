"""Running an ONNX file: sessions of onnxruntime, fed from torch's tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch

from sdperf.engines.protocol import Part
from sdperf.errors import EngineError, GenerationError
from sdperf.settings import ENGINE, SIZE

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"

SPIN_DURATION: Final = ("session.intra_op.spin_duration_us", "2000")
"""A session's threads spin for a while after its call, so that the next call begins at once. Each
part has its own threads: without a limit those of one part take the processors from the next. Two
milliseconds cover the scheduler between two steps. Runtimes that do not know the entry ignore
it."""

_ONLY_ERRORS: Final = 3
_NUMPY: Final = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.int64: np.int64,
}


def open_session(path: Path, part: str, provider: str, threads: int) -> Any:
    """Load a model for a provider.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        EngineError: The runtime lacks the provider or an operator, or the file cannot be read.
    """
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise EngineError(
            f"this onnxruntime has no {provider}",
            got=", ".join(available),
            hint="pip uninstall onnxruntime; pip install 'sdperf[onnx-gpu]'"
            if provider == CUDA
            else "install a build of onnxruntime that has it",
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(*SPIN_DURATION)
    wanted = [provider] if provider == CPU else [provider, CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except Exception as error:
        raise EngineError(
            f"onnxruntime {onnxruntime.__version__} cannot load the {part}",
            got=" ".join(str(error).split())[:300],
            hint=f"{ENGINE} torch, or another version of onnxruntime",
        ) from error
    if session.get_providers()[0] != provider:  # it falls back silently
        raise EngineError(
            f"onnxruntime cannot use {provider} here and would run on the CPU",
            got=", ".join(session.get_providers()),
            hint="check the CUDA and cuDNN that onnxruntime-gpu was built for",
        )
    return session


class SessionPart:
    """A part in a session that computes on the host, or gets its tensors from there.

    Args:
        session: The `onnxruntime.InferenceSession`.
        part: The part that was exported.
    """

    def __init__(self, session: Any, part: Part) -> None:
        self.session = session
        self._name = part.name
        self._outputs = list(part.outputs)

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it; tensors of the CPU are read where they lie."""
        device = next(iter(inputs.values())).device
        fed = {name: one.contiguous().cpu().numpy() for name, one in inputs.items()}
        with _failures_explained(self._name):
            found = self.session.run(self._outputs, fed)
        return tuple(torch.from_numpy(each).to(device) for each in found)


class BoundSessionPart:
    """A part in a session of the device that the tensors are on: nothing is copied.

    Args:
        session: The `onnxruntime.InferenceSession`.
        part: The part that was exported.
    """

    def __init__(self, session: Any, part: Part) -> None:
        self.session = session
        self._name = part.name
        self._dtypes = [_NUMPY_TO_TORCH[one.type] for one in session.get_outputs()]
        self._shapes: Sequence[Sequence[int | str]] = [one.shape for one in session.get_outputs()]
        self._outputs = list(part.outputs)
        self._batched = next(name for name in part.inputs if name not in part.fixed)

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it on the memory of the tensors."""
        placed = {name: one.contiguous() for name, one in inputs.items()}
        first = placed[self._batched]
        rows = first.shape[0]
        binding = self.session.io_binding()
        for name, tensor in placed.items():
            binding.bind_input(name, *_describe(tensor))
        made = []
        for name, shape, dtype in zip(self._outputs, self._shapes, self._dtypes, strict=True):
            output = torch.empty((rows, *map(int, shape[1:])), dtype=dtype, device=first.device)
            binding.bind_output(name, *_describe(output))
            made.append(output)
        _wait_for_torch(first.device)
        with _failures_explained(self._name):
            self.session.run_with_iobinding(binding)
        return tuple(made)


_NUMPY_TO_TORCH: Final = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}


@contextlib.contextmanager
def _failures_explained(part: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise explain_failure(part, error) from error


def explain_failure(part: str, error: Exception) -> GenerationError:
    """Say in one message why a call of the runtime failed."""
    text = " ".join(str(error).split())
    if "Got invalid dimensions" in text:
        return GenerationError(
            f"the {part} was converted for another size",
            got=text[:300],
            hint=f"one {SIZE} for each run",
        )
    return GenerationError(f"onnxruntime failed in the {part}", got=text[:300])


def _describe(tensor: torch.Tensor) -> tuple[str, int, Any, tuple[int, ...], int]:
    """Describe a tensor's memory as `IOBinding` wants it."""
    device = tensor.device
    kind = _NUMPY[tensor.dtype]
    return device.type, device.index or 0, kind, tuple(tensor.shape), tensor.data_ptr()


def _wait_for_torch(device: torch.device) -> None:
    """Wait until torch has written its tensors: the runtime has a separate stream."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
