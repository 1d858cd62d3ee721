"""Tensors that pass for MPS tensors on a machine without MPS.

The pipeline sees ``device(type='mps', index=0)``, so that Python takes the branches that it would
take on a Mac. torch's C++ sees its ``meta`` device, because it asks a backend that is not built in
for the device's number. The CPU computes the values behind it. Small tensors have values, so that
schedulers, masks and ``.item()`` work. Larger ones have a shape only, so that SDXL at 1024 px takes
seconds and no memory.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch.utils._pytree import tree_map

from sdperf.errors import GenerationError

MOST_VALUES: Final = 1 << 16
"""The most elements of a tensor that has values, where not all tensors have them."""

_MOST_TRIED: Final = 1 << 22
"""The most elements that a result can have that is computed to see how many it has."""

_UNTRIED: Final = (
    NotImplementedError,
    RuntimeError,
    TypeError,
    IndexError,
    ValueError,
    OverflowError,
)
"""What says that a result cannot be had so, such as of values that are nonsense."""

_MOST_FALLBACK_BYTES: Final = 1 << 28
DEVICE: Final = torch.device("mps", 0)
_NEEDS_VALUES: Final = ("_local_scalar_dense", "equal", "is_nonzero")
_INDEXING: Final = ("index", "_unsafe_index")
_ALLOCATIONS: Final = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")

Handler = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class StandIn(torch.Tensor):
    """A tensor that says it is on MPS.

    Attributes:
        behind: The tensor that computes: on the CPU with values, or on ``meta`` without.
        is_uninitialised: Whether nothing was written into it yet.
    """

    behind: torch.Tensor
    is_uninitialised: bool
    handler: Handler | None = None

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """The MPS device that this machine does not have."""
        return DEVICE

    @property
    def is_mps(self) -> bool:  # type: ignore[override]
        """True."""
        return True

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        """False, although C++ sees a ``meta`` tensor."""
        return False

    def tolist(self) -> Any:
        """Return the values, which torch does not do for subclasses.

        Raises:
            GenerationError: It has no values.
        """
        if self.behind.is_meta:
            raise _without_values("tolist")
        return self.behind.tolist()

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> StandIn:
        """Wrap a tensor of the CPU or of ``meta``."""
        made: StandIn = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device("meta"),
        )
        made.behind = inner
        made.is_uninitialised = False
        return made

    def __repr__(self, **_named: Any) -> str:  # type: ignore[override]
        """Describe shape and format, since there may be no values."""
        return f"StandIn({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass an operator to the recorder; without one, only compute it."""
        handler = StandIn.handler or Computer(keeps_values=True).compute
        return handler(func, args, kwargs or {})


Computed = tuple[Any, dict[int, StandIn]]
"""A result, and the stand-ins by the identity of the tensors behind them."""


class Computer:
    """Computes operators on stand-ins.

    Args:
        keeps_values: Whether all tensors have values; else only those of `MOST_VALUES` elements.
    """

    def __init__(self, *, keeps_values: bool = False) -> None:
        self._keeps_values = keeps_values

    def stand_in_for(self, tensor: torch.Tensor) -> StandIn:
        """Move a tensor of the CPU or of ``meta`` to the device that is not there."""
        return StandIn(self._place(tensor.detach()))

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that has to do with the device.

        Raises:
            GenerationError: The operator needs values that are not there.
        """
        name = func.overloadpacket.__name__
        tensors = list(_tensors_in((args, kwargs)))
        has_values = not any(_inner(each).is_meta for each in tensors)
        if not has_values and name in _NEEDS_VALUES:
            raise _without_values(func)
        if not has_values and name == "copy_" and not isinstance(args[0], StandIn):
            return args[0].zero_()
        result, placed = self._choose(func, args, kwargs, tensors, has_values=has_values)
        if kwargs.get("device") is not None and not is_stand_in_device(kwargs["device"]):
            return map_leaves(_to_host, result)
        return map_leaves(lambda each: self._wrap(each, placed, func, tensors), result)

    def _choose(
        self, func: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor], *, has_values: bool
    ) -> Computed:
        """Compute with values where that is cheap.

        Where a result may be large, its size is asked first, or found by computing it, which takes
        less time than asking as long as there is little to compute. What draws numbers is not
        computed to be thrown away, or later draws would be others.
        """
        if not has_values:
            return self._run(func, args, kwargs, "meta")
        if self._keeps_values:
            return self._run(func, args, kwargs, "cpu")
        if any(each.numel() > MOST_VALUES for each in tensors):
            return self._run(func, args, kwargs, "meta")
        sizes = sorted((each.numel() for each in tensors), reverse=True)[:2]
        most = math.prod(sizes) if tensors else math.inf
        tried_first = 0 if torch.Tag.nondeterministic_seeded in func.tags else _MOST_TRIED
        for where, limit in (("cpu", tried_first), ("meta", math.inf)):
            if MOST_VALUES < most <= limit:
                with contextlib.suppress(*_UNTRIED):
                    tried = self._run(func, args, kwargs, where)
                    is_small = all(each.numel() <= MOST_VALUES for each in _tensors_in(tried[0]))
                    if is_small == (where == "cpu"):
                        return tried
        return self._run(func, args, kwargs, "cpu")

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any], where: str) -> Computed:
        """Compute with the tensors behind the stand-ins.

        Returns:
            The result, and the stand-ins by the identity of the tensors behind them.
        """
        behind: dict[int, tuple[StandIn, torch.Tensor]] = {}
        if where == "meta" and func.overloadpacket.__name__ in _INDEXING:
            args = (args[0], _count_masks(args[1]), *args[2:])

        def place(value: Any) -> Any:
            if isinstance(value, StandIn):
                if id(value) not in behind:
                    inner = value.behind.to("meta") if where == "meta" else value.behind
                    behind[id(value)] = (value, inner)
                return behind[id(value)][1]
            if isinstance(value, torch.Tensor) and where == "meta" and value.dim() > 0:
                return value.to("meta")
            return torch.device(where) if isinstance(value, torch.device) else value

        try:
            result = func(*map_leaves(place, args), **_placed_named(kwargs, where, place))
        except NotImplementedError as error:
            if where != "meta":
                raise
            result = self._run_on_zeros(func, args, kwargs, error)
        return result, {id(inner): original for original, inner in behind.values()}

    def _run_on_zeros(
        self, func: Any, args: Any, kwargs: dict[str, Any], error: NotImplementedError
    ) -> Any:
        """Find the shape of a result that torch has no rule for, from zeros on the CPU."""
        tensors = list(_tensors_in((args, kwargs)))
        if sum(each.numel() * each.element_size() for each in tensors) > _MOST_FALLBACK_BYTES:
            raise GenerationError(
                f"the shape of what {func} returns cannot be known without computing it",
                got="no rule of torch's for it, and inputs too large to try",
                hint="--values, or a smaller --size",
            ) from error

        def zeros(each: Any) -> Any:
            if isinstance(each, torch.device):
                return torch.device("cpu")
            return torch.zeros_like(_inner(each), device="cpu") if _is_tensor(each) else each

        result = func(*map_leaves(zeros, args), **_placed_named(kwargs, "cpu", zeros))
        return map_leaves(lambda each: each.to("meta") if _is_tensor(each) else each, result)

    def _wrap(
        self, result: Any, placed: dict[int, StandIn], func: Any, tensors: list[torch.Tensor]
    ) -> Any:
        if not _is_tensor(result) or isinstance(result, StandIn):
            return result
        original = placed.get(id(result))
        if original is not None:
            original.behind = result
            original.is_uninitialised = False
            return original
        made = StandIn(self._place(result))
        made.is_uninitialised = func.overloadpacket.__name__ in _ALLOCATIONS
        if func.is_view and tensors and isinstance(tensors[0], StandIn):
            # Code that takes a view of fresh memory will write into it through the view.
            made.is_uninitialised = tensors[0].is_uninitialised
            tensors[0].is_uninitialised = False
        return made

    def _place(self, tensor: torch.Tensor) -> torch.Tensor:
        if self._keeps_values or tensor.is_meta or tensor.numel() <= MOST_VALUES:
            return tensor
        return tensor.to("meta")


def find_leaves(value: Any) -> Iterator[Any]:
    """Find what an operator's arguments or results hold, in tuples, lists and dictionaries.

    Args:
        value: They, or one of them.
    """
    if isinstance(value, tuple | list):
        for item in value:
            yield from find_leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from find_leaves(item)
    else:
        yield value


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Change what an operator's arguments or results hold.

    torch's own function for this took a quarter of the time of a recording.

    Args:
        function: What changes each.
        value: They, or one of them.
    """
    kind = type(value)
    if kind is tuple:
        return tuple([map_leaves(function, item) for item in value])
    if kind is list:
        return [map_leaves(function, item) for item in value]
    if isinstance(value, tuple | list | dict):
        return tree_map(function, value)
    return function(value)


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in find_leaves(value) if isinstance(leaf, torch.Tensor))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _inner(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.behind if isinstance(tensor, StandIn) else tensor


def _count_masks(indices: Any) -> list[Any]:
    """Replace masks that have values by positions, so that selections have a size."""
    counted: list[Any] = []
    for index in indices:
        is_mask = _is_tensor(index) and index.dtype in (torch.bool, torch.uint8)
        if is_mask and not _inner(index).is_meta:
            counted += _inner(index).nonzero(as_tuple=True)
        else:
            counted.append(index)
    return counted


def _placed_named(
    kwargs: dict[str, Any], where: str, place: Callable[[Any], Any]
) -> dict[str, Any]:
    """Place named arguments, without generators, which have no use here."""
    placed = {name: map_leaves(place, value) for name, value in kwargs.items()}
    if where == "meta" and "generator" in kwargs:
        placed["generator"] = None
    return placed


def is_stand_in_device(device: Any) -> bool:
    """Tell whether a device is the missing MPS device, by its own name or by that of C++."""
    return device is not None and torch.device(device).type in (DEVICE.type, "meta")


def _to_host(value: Any) -> Any:
    """Bring a result to the CPU; a tensor without values becomes zeros."""
    if not _is_tensor(value) or not value.is_meta:
        return value
    return torch.zeros_like(value, device="cpu")


def _without_values(func: Any) -> GenerationError:
    return GenerationError(
        "the pipeline asks for a number that depends on what its networks computed",
        got=f"{func} of a tensor that has a shape only",
        hint="--values computes everything, on the CPU",
    )
