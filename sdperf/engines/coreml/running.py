"""Running a converted part: rows in equal shares, arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from sdperf.engines.coreml.settings import ComputeUnits
from sdperf.engines.protocol import Part
from sdperf.errors import GenerationError
from sdperf.settings import ENGINE

Arrays = dict[str, np.ndarray[Any, Any]]


class CoreMLProgram(Protocol):
    """A loaded Core ML program."""

    def predict(self, data: Arrays) -> Arrays:
        """Run it: float32 or int32 arrays of its fixed shapes by name, the same back."""


class CoreMLSystem(Protocol):
    """The functions that only a Mac has; tests pass substitutes."""

    def compile(self, package: Path, target: Path) -> None:
        """Compile a package for this machine; ``target`` ends in ``.mlmodelc``."""

    def open(self, compiled: Path, units: ComputeUnits) -> CoreMLProgram:
        """Load a compiled program onto processors."""


class MacSystem:
    """Core ML itself, through coremltools. The authors never ran it: see the docs."""

    def compile(self, package: Path, target: Path) -> None:
        """Compile a package."""
        import coremltools as ct

        ct.models.utils.compile_model(str(package), str(target))

    def open(self, compiled: Path, units: ComputeUnits) -> CoreMLProgram:
        """Load a compiled program."""
        import coremltools as ct

        program: CoreMLProgram = ct.models.CompiledMLModel(
            str(compiled), compute_units=ct.ComputeUnit[units.upper()]
        )
        return program


class CoreMlPart:
    """Runs one part on a program of fixed shape, as many times as its rows need."""

    def __init__(self, program: CoreMLProgram, part: Part) -> None:
        self._program = program
        self._name = part.name
        self._names = tuple(part.inputs)
        self._outputs = part.outputs
        self._fixed = part.fixed
        self._rows = part.rows
        self._dtype: torch.dtype = part.network.dtype

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it; see `sdperf.engines.protocol.RunPart`."""
        first = inputs[self._names[0]]
        arrays = {name: _to_numpy(inputs[name]) for name in self._names}
        shares = [
            self._run_share(arrays, start, len(first)) for start in range(0, len(first), self._rows)
        ]
        return tuple(
            torch.from_numpy(np.concatenate(pieces)).to(device=first.device, dtype=self._dtype)
            for pieces in zip(*shares, strict=True)
        )

    def _run_share(self, arrays: Arrays, start: int, count: int) -> list[np.ndarray[Any, Any]]:
        """Run the rows from ``start`` on; where they are too few, the last one is repeated."""
        places = np.minimum(np.arange(start, start + self._rows), count - 1)
        share = {
            name: array if name in self._fixed else np.ascontiguousarray(array[places])
            for name, array in arrays.items()
        }
        try:
            found = self._program.predict(share)
        except (RuntimeError, ValueError) as error:
            raise GenerationError(
                f"Core ML could not run the {self._name}",
                got=str(error)[:200],
                hint=f"{ENGINE} torch",
            ) from error
        return [found[name][: count - start] for name in self._outputs]


def _to_numpy(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    dtype = torch.float32 if tensor.is_floating_point() else torch.int32
    return tensor.detach().to(device="cpu", dtype=dtype).numpy()
