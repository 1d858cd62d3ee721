"""A recorded generation as plain values: operators, inputs and places. It imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sdperf.record.stages import StageName

MPS: Final = "mps"


@dataclass(frozen=True)
class SeenTensor:
    """The properties of a tensor that an operator sees.

    Attributes:
        dtype: torch's name without the prefix, such as ``float16``.
        shape: Sizes.
        strides: Number of elements from one index to the next, one number per dimension.
        storage_offset: Number of elements before the first one.
        storage_bytes: Bytes of the memory behind it, which other tensors may share.
        device: ``mps`` or ``cpu``.
        is_uninitialised: Whether nothing was written into it since it was allocated.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    storage_offset: int = 0
    storage_bytes: int = 0
    device: str = MPS
    is_uninitialised: bool = False

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in the order of their indices, without gaps."""
        return self._is_packed(range(len(self.shape)))

    @property
    def is_channels_last(self) -> bool:
        """Whether four dimensions lie packed with the second one innermost, and only so."""
        return len(self.shape) == 4 and self._is_packed((0, 2, 3, 1)) and not self.is_contiguous

    @property
    def looks_channels_last(self) -> bool:
        """Whether the strides fall as in channels_last, packed or not, and it is no NCHW tensor."""
        if len(self.shape) != 4 or self.is_contiguous:
            return False
        by_size = [self.strides[axis] for axis in (0, 2, 3, 1)]
        return self.strides[1] == 1 and by_size == sorted(by_size, reverse=True)

    def _is_packed(self, axes: tuple[int, ...] | range) -> bool:
        if 0 in self.shape:
            return True
        expected = 1
        for axis in reversed(axes):
            if self.shape[axis] != 1 and self.strides[axis] != expected:
                return False
            expected *= self.shape[axis]
        return True


Argument: TypeAlias = "SeenTensor | float | bool | str | tuple[Argument, ...] | None"


@dataclass(frozen=True)
class OperatorCall:
    """One call of an operator, in the form that the backend would get.

    Attributes:
        operator: Namespace, name and overload, such as ``aten::add.Tensor``.
        arguments: By the names of the operator's schema, defaults included.
        outputs: The output tensors.
        stage: The stage of the generation.
        module: Path of the innermost module, such as ``unet.mid_block.attentions.0``; may be empty.
        line: File and line of the innermost code outside torch, such as
            ``diffusers/models/attention_processor.py:2765``.
        thread: Number of the thread; 0 for the thread that used MPS first.
        module_class: Class of that module; may be empty.
        is_compiled: Whether the module, or one around it, is compiled: on a Mac other kernels would
            compute this.
    """

    operator: str
    arguments: tuple[tuple[str, Argument], ...]
    outputs: tuple[SeenTensor, ...]
    stage: StageName
    module: str = ""
    line: str = ""
    thread: int = 0
    module_class: str = ""
    is_compiled: bool = False

    @property
    def name(self) -> str:
        """Name without namespace and overload: ``add``."""
        return self.operator.rpartition("::")[2].partition(".")[0]

    def get(self, name: str) -> Argument:
        """Return an argument by name; ``None`` where the operator has no such argument."""
        return dict(self.arguments).get(name)

    def tensor(self, *names: str) -> SeenTensor | None:
        """Return the first of these arguments that is a tensor."""
        found = dict(self.arguments)
        return next(
            (each for name in names if isinstance(each := found.get(name), SeenTensor)), None
        )

    @property
    def inputs(self) -> tuple[SeenTensor, ...]:
        """All input tensors, including those in lists."""
        return tuple(tensor for _, value in self.arguments for tensor in _tensors_in(value))


@dataclass(frozen=True)
class MpsRecording:
    """The operators that one generation needed from MPS.

    Attributes:
        calls: Distinct calls with how often each was made, in the order of their first time.
        operators: Number of all calls.
        precision: Number format of the weights.
        height: Pixels; ``None`` where only the pipeline knows them.
        width: Pixels; ``None`` where only the pipeline knows them.
        steps: Number of recorded denoising steps.
        has_values: Whether all operators computed values; else only small ones did.
        frames: Number of frames of a video; ``None`` for a picture.
    """

    calls: Mapping[OperatorCall, int]
    precision: str
    height: int | None
    width: int | None
    steps: int
    has_values: bool = False
    frames: int | None = None

    @property
    def operators(self) -> int:
        """Calls in all."""
        return sum(self.calls.values())


def _tensors_in(value: Argument) -> Iterator[SeenTensor]:
    if isinstance(value, SeenTensor):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tensors_in(item)
