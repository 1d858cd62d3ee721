"""Records every operator that a generation needs from MPS, with its place and stage."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Final
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from sdperf.mps_check.calls import MPS, Argument, OperatorCall, SeenTensor
from sdperf.mps_check.dispatch import DispatchTable
from sdperf.mps_check.standin import (
    DEVICE,
    Computer,
    StandIn,
    find_leaves,
    is_stand_in_device,
)
from sdperf.record.stages import StageName

_ATTENTION: Final = "aten::scaled_dot_product_attention"
_ATTENTION_ON_MPS: Final = "aten::_scaled_dot_product_attention_math_for_mps"
"""Operator that torch's C++ calls on MPS without dropout; other builds leave it out."""

_WHOLE: Final = ("convolution", "convolution_backward", "_to_copy", "copy_", "clone")
"""Operators with one implementation for all backends, which has a branch for MPS or is empty."""

_ALL_BACKENDS: Final = torch._C.DispatchKey.CompositeExplicitAutograd

_SILENT: Final = ("detach", "alias")
"""Operators that do nothing and come with every weight."""

_WITHIN_COMPILED: Final = "_orig_mod"
"""Attribute in which ``torch.compile`` keeps the network that it wraps."""

_MAKERS: Final = (torch.tensor, torch.as_tensor, torch.asarray)
_TORCH: Final = str(Path(torch.__file__).parent)
_HERE: Final = str(Path(__file__).parent)
_QUIET_FOLDERS: Final = (_TORCH, _HERE, str(Path(contextlib.__file__)))


class Recorder:
    """Records everything that a generation needs from MPS, call by call.

    Args:
        table: Routes of operators in the judged version; decides which are decomposed.
        names: Path of each module by its identity.
        compiled: Identities of modules that are compiled, or inside a compiled module.
        keeps_values: Whether all tensors have values.

    Attributes:
        calls: Distinct calls with their number, in order of their first time.
        stage: The present stage.
    """

    def __init__(
        self,
        table: DispatchTable,
        names: dict[int, str],
        compiled: frozenset[int] = frozenset(),
        *,
        keeps_values: bool = False,
    ) -> None:
        self.calls: Counter[OperatorCall] = Counter()
        self.stage: StageName = "whole"
        self.computer = Computer(keeps_values=keeps_values)
        self._table = table
        self._names = names
        self._compiled = compiled
        self._path: list[tuple[str, str, bool]] = []
        self._threads: dict[int, int] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Pretend that this machine has MPS, and record the operators for it."""
        handles = [
            torch.nn.modules.module.register_module_forward_pre_hook(self._enter),
            torch.nn.modules.module.register_module_forward_hook(self._leave, always_call=True),
        ]
        try:
            with (
                mock.patch.object(StandIn, "handler", staticmethod(self.handle)),
                mock.patch.object(torch.nn.Module, "_apply", _apply_to_stand_ins),
                mock.patch.object(torch.backends.mps, "is_available", _yes),
                mock.patch.object(torch.mps, "empty_cache", _nothing),
                mock.patch.object(torch.mps, "synchronize", _nothing),
                torch.no_grad(),
                torch._C._AutoDispatchBelowAutograd(),
                _Makers(),
                _Mode(self),
            ):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def handle(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record an operator that has to do with MPS, and compute it."""
        operator = f"{func.namespace}::{func.__name__.removesuffix('.default')}"
        route = self._table.letter(operator)
        if func.overloadpacket.__name__ == "to":
            return self._move(func, args, kwargs)
        if operator == _ATTENTION and not _argument(func, args, kwargs, "dropout_p"):
            computed = self.computer.compute(func, args, kwargs)
            # Unlike the CPU's kernel, that of MPS allocates its result in the order of its shape.
            result = self.computer.stand_in_for(computed.behind.contiguous())
            self._note(_ATTENTION_ON_MPS, func, args, kwargs, result)
            return result
        if route == "p":
            return self._take_apart_in_python(operator, func, args, kwargs)
        if route != "m" and func._can_decompose():
            with _Mode(self):
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if route == "e" and self._can_look_inside(func, args):
            with contextlib.suppress(NotImplementedError, RuntimeError):
                return self._look_inside(func, args, kwargs)
        result = self.computer.compute(func, args, kwargs)
        self._note(operator, func, args, kwargs, result)
        return result

    def _take_apart_in_python(
        self, operator: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record an operator that Python registers, and the operators of its decomposition.

        torch's own table of decompositions has the function that ``torch.backends.mps`` registers,
        in the installed version's form; without one only the operator itself is recorded.
        """
        from torch._decomp import decomposition_table

        decompose = decomposition_table.get(func)
        if decompose is None:
            result = self.computer.compute(func, args, kwargs)
        else:
            with _Mode(self):
                result = decompose(*args, **kwargs)
        self._note(operator, func, args, kwargs, result)
        return result

    def _can_look_inside(self, func: Any, args: tuple[Any, ...]) -> bool:
        return (
            not func.is_view
            and func.overloadpacket.__name__ not in _WHOLE
            and any(isinstance(leaf, torch.Tensor) for leaf in find_leaves(args))
            and func.has_kernel_for_dispatch_key(_ALL_BACKENDS)
        )

    def _look_inside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the implementation that all backends share, to record what it calls.

        Raises:
            RuntimeError: It asks for something that stand-ins do not have; nothing is recorded.
        """
        before, self.calls = self.calls, Counter()
        try:
            with _Mode(self):
                result = func._op_dk(_ALL_BACKENDS, *args, **kwargs)
            tensors = [leaf for leaf in find_leaves(result) if isinstance(leaf, torch.Tensor)]
            if not all(isinstance(tensor, StandIn) for tensor in tensors):
                raise RuntimeError(f"{func} made a tensor past the dispatcher")
            before.update(self.calls)
            return result
        finally:
            self.calls = before

    def _move(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do what ``to`` does: nothing, or a copy."""
        tensor: torch.Tensor = args[0]
        given = dict(_arguments(func, args, kwargs))
        other = given.get("other")
        device = given.get("device") if other is None else other.device
        dtype = given.get("dtype") if other is None else other.dtype
        layout = given.get("memory_format")
        on_mps = isinstance(tensor, StandIn) if device is None else is_stand_in_device(device)
        is_there = on_mps == isinstance(tensor, StandIn) and dtype in (None, tensor.dtype)
        is_laid_out = layout in (None, torch.preserve_format) or tensor.is_contiguous(
            memory_format=layout
        )
        if is_there and is_laid_out and not given.get("copy"):
            return tensor
        where = DEVICE if on_mps else torch.device("cpu")
        named = {"dtype": dtype or tensor.dtype, "device": where, "memory_format": layout}
        named["non_blocking"] = bool(given.get("non_blocking"))
        return self.handle(torch.ops.aten._to_copy.default, (tensor,), named)

    def _note(
        self, operator: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        if func.overloadpacket.__name__ in _SILENT:
            return
        thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
        arguments = tuple((name, _seen(value)) for name, value in _arguments(func, args, kwargs))
        outputs = tuple(
            describe(leaf) for leaf in find_leaves(result) if isinstance(leaf, torch.Tensor)
        )
        module, module_class, is_compiled = self._path[-1] if self._path else ("", "", False)
        call = OperatorCall(
            operator,
            arguments,
            outputs,
            self.stage,
            module,
            find_line(),
            thread,
            module_class,
            is_compiled,
        )
        self.calls[call] += 1

    def _enter(self, module: Any, _args: Any) -> None:
        around, _, is_compiled = self._path[-1] if self._path else ("", "", False)
        is_compiled = is_compiled or id(module) in self._compiled
        path = self._names.get(id(module), around)
        self._path.append((path, type(module).__name__, is_compiled))

    def _leave(self, _module: Any, _args: Any, _output: Any) -> None:
        self._path.pop()


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Catches operators that make tensors on MPS out of none; stand-ins catch all others."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if _concerns_mps(args, named):
            return self._recorder.handle(func, args, named)
        return func(*args, **named)


class _Makers(TorchFunctionMode):
    """``torch.tensor(..., device="mps")`` copies in C++, before any operator could be caught."""

    def __torch_function__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        device = named.get("device")
        if func in _MAKERS and args and isinstance(args[0], list | tuple):
            args = (tree_map(_as_number, args[0]), *args[1:])
        if func in _MAKERS and is_stand_in_device(device):
            return func(*args, **{**named, "device": "cpu"}).to(MPS)
        if func is torch.Tensor.new_tensor and device is None and isinstance(args[0], StandIn):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **named}).to(MPS)
        return func(*args, **named)


def _as_number(value: Any) -> Any:
    """Read the number that a stand-in in a list holds, which C++ would ask ``meta`` for."""
    return value.item() if isinstance(value, StandIn) else value


def describe(tensor: torch.Tensor) -> SeenTensor:
    """Describe a tensor as an operator on MPS would see it."""
    inner = tensor.behind if isinstance(tensor, StandIn) else tensor
    return SeenTensor(
        dtype=str(inner.dtype).removeprefix("torch."),
        shape=tuple(inner.shape),
        strides=tuple(inner.stride()),
        storage_offset=int(inner.storage_offset()),
        storage_bytes=int(inner.untyped_storage().nbytes()),
        device=MPS if isinstance(tensor, StandIn) else tensor.device.type,
        is_uninitialised=isinstance(tensor, StandIn) and tensor.is_uninitialised,
    )


def find_line() -> str:
    """Name the innermost line outside torch and this package that is being run."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_QUIET_FOLDERS):
        frame = frame.f_back
    if frame is None:
        return ""
    return f"{shorten_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def shorten_path(path: str) -> str:
    """Cut a source file's path at the package folder or the current folder."""
    for root in ("site-packages/", "dist-packages/"):
        _, found, after = path.rpartition(root)
        if found:
            return after
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def name_modules(components: dict[str, Any]) -> dict[int, str]:
    """Map each module of a pipeline's components to its path."""
    return {
        id(module): f"{name}.{path}".rstrip(".")
        for name, part in components.items()
        if isinstance(part, torch.nn.Module)
        for path, module in part.named_modules()
    }


def undo_compiling(pipeline: Any) -> frozenset[int]:
    """Restore the original of networks that ``torch.compile`` or ``module.compile`` has wrapped.

    The code that a Mac would compile is not available on other machines.

    Returns:
        Identities of these networks and of all modules in them.
    """
    undone: list[torch.nn.Module] = []
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            if hasattr(part, _WITHIN_COMPILED):
                written: Any = part._orig_mod
                setattr(pipeline, name, written)
                undone.append(written)
            undone += _undo_within(getattr(part, _WITHIN_COMPILED, part))
    return frozenset(id(inner) for module in undone for inner in module.modules())


def _undo_within(part: Any) -> Iterator[torch.nn.Module]:
    for module in list(part.modules()):
        if module._compiled_call_impl is not None:
            module._compiled_call_impl = None
            yield module
        for name, child in list(module.named_children()):
            if hasattr(child, _WITHIN_COMPILED):
                setattr(module, name, child._orig_mod)
                yield child._orig_mod


def move_to_stand_ins(module: torch.nn.Module, computer: Computer) -> None:
    """Replace a network's weights and buffers by stand-ins, in place."""
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            part._parameters[name] = _as_parameter(computer.stand_in_for(weight))
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = computer.stand_in_for(buffer)


def _apply_to_stand_ins(module: Any, function: Any, recurse: bool = True) -> Any:
    """Do what ``Module._apply`` does, which writes through ``.data`` and would lose stand-ins."""
    if recurse:
        for child in module.children():
            child._apply(function)
    for name, weight in module.named_parameters(recurse=False):
        module._parameters[name] = _as_parameter(function(weight))
    for name, buffer in module.named_buffers(recurse=False):
        module._buffers[name] = function(buffer)
    return module


def _as_parameter(tensor: torch.Tensor) -> torch.nn.Parameter:
    return torch.nn.Parameter(tensor, requires_grad=False)


def _concerns_mps(args: Any, kwargs: dict[str, Any]) -> bool:
    return any(
        isinstance(leaf, StandIn) or (isinstance(leaf, torch.device) and is_stand_in_device(leaf))
        for leaf in find_leaves((args, kwargs))
    )


@cache
def _parameters(func: Any) -> tuple[tuple[str, Any], ...]:
    """Return the names of an operator's parameters, and their defaults."""
    return tuple((each.name, each.default_value) for each in func._schema.arguments)


def _arguments(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Pair each parameter of an operator with what it was given, or with its default."""
    for index, (name, default) in enumerate(_parameters(func)):
        yield name, args[index] if index < len(args) else kwargs.get(name, default)


def _argument(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    return dict(_arguments(func, args, kwargs)).get(name)


def _seen(value: Any) -> Argument:
    if isinstance(value, torch.Tensor):
        return describe(value)
    if isinstance(value, list | tuple):
        return tuple(_seen(item) for item in value)
    if value is None or isinstance(value, bool | int | str):
        return value
    is_finite = isinstance(value, float) and math.isfinite(value)
    return value if is_finite else str(value)


def _yes() -> bool:
    return True


def _nothing() -> None:
    """Do nothing."""
