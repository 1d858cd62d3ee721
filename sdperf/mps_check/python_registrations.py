"""Reads from torch's sources which operators it registers for MPS in Python, without running them.

``torch.library.Library("aten", "IMPL").impl(name, function, "MPS")`` overrules what C++ has, and
neither ``native_functions.yaml`` nor the library shows it: up to 2.12 ``native_group_norm`` was
such an operator.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sdperf.errors import ConfigurationError

_MPS: Final = "mps"
_NAMESPACE: Final = "aten"
_ROOT: Final = "torch"
_REGISTERING: Final = ("impl", "register_kernel", "register_op_override")

Sources = Callable[[str], str | None]
"""Returns the source of a file by its path, such as ``torch/library.py``, or None without it."""


@dataclass(frozen=True)
class PythonRegistration:
    """One operator that Python registers for MPS.

    Attributes:
        operator: Name and overload.
        function: The function that computes it, as the source writes it.
        place: File and line.
        needs: Module that must be imported first; empty where ``import torch`` is enough.
    """

    operator: str
    function: str
    place: str
    needs: str


def read_python_registrations(
    paths: list[str], source_of: Sources
) -> tuple[PythonRegistration, ...]:
    """Read the registrations for MPS of a torch, in the order of its files.

    Args:
        paths: Its Python files, such as ``torch/backends/mps/__init__.py``.
        source_of: Returns the source of one of them.

    Raises:
        ConfigurationError: Something is registered for MPS whose name is not written out.
    """
    candidates = {
        path: text
        for path in paths
        if (text := source_of(path)) and _MPS in text.lower() and ".impl" in text + ".impl"
        if any(word in text for word in ("Library(", *_REGISTERING[1:], "library.impl"))
    }
    found = [
        (path, function, each)
        for path, text in sorted(candidates.items())
        for function, each in _read_file(path, text)
    ]
    if not found:
        return ()
    reached = _Reached(source_of)
    return tuple(
        PythonRegistration(
            each.operator,
            each.function,
            each.place,
            "" if reached.runs(path, function) else _module_name(path),
        )
        for path, function, each in found
    )


def _read_file(path: str, text: str) -> Iterator[tuple[str, PythonRegistration]]:
    """List the registrations of a file, each with the function that makes it, if one does."""
    tree = ast.parse(text)
    keys = _library_keys(tree)
    for function, decorated, call in _calls_within(tree):
        made = _dotted(call.func)
        receiver, _, name = made.rpartition(".")
        arguments = [_constant(each) for each in call.args]
        named = {each.arg: _constant(each.value) for each in call.keywords}
        key = named.get("dispatch_key") or named.get("device_types")
        if name == "impl" and receiver in keys:
            key = key or (arguments[2] if len(arguments) > 2 else None) or keys[receiver]
            operator = arguments[0] if arguments else None
            computes = _dotted(call.args[1]) if len(call.args) > 1 else ""
        elif name in _REGISTERING and arguments:
            strings = [each for each in arguments if each is not None]
            key = key or next((each for each in strings if each.lower() == _MPS), None)
            operator = next((each for each in strings if each.startswith("aten::")), None)
            if operator is None and name == "register_op_override" and "aten" in strings:
                operator = strings[strings.index("aten") + 1]
            elif operator is None and len(call.args) > 1 and _dotted(call.args[0]) in keys:
                operator = arguments[1]
            elif operator is None:
                continue
            computes = decorated
        else:
            continue
        if key is None or key.lower() != _MPS:
            continue
        place = f"{path}:{call.lineno}"
        if operator is None:
            raise ConfigurationError(
                "an operator is registered for MPS under a name that is not written out",
                got=place,
                expected="a name such as aten::add.out",
                hint="read that file, and teach sdperf.mps_check.python_registrations to",
            )
        plain = operator.removeprefix("aten::")
        yield function, PythonRegistration(plain, computes, place, "")


def _library_keys(tree: ast.Module) -> dict[str, str | None]:
    """Find the variables that hold a library of ``aten``, with its own key if it has one."""
    makers = {"Library", "library.Library", "torch.library.Library"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "torch.library"
        for alias in node.names
        if alias.name == "Library" and alias.asname
    }
    keys: dict[str, str | None] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        arguments = [_constant(each) for each in node.value.args]
        if _dotted(node.value.func) in makers and arguments[:1] == [_NAMESPACE]:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                keys[_dotted(target)] = arguments[2] if len(arguments) > 2 else None
    return keys


def _calls_within(tree: ast.AST, function: str = "") -> Iterator[tuple[str, str, ast.Call]]:
    """List calls with the outermost function that makes them, and the function they decorate."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield function, "", node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for call in node.decorator_list:
                if isinstance(call, ast.Call):
                    yield function, node.name, call
            for statement in node.body:
                yield from _calls_within(statement, function or node.name)
        else:
            yield from _calls_within(node, function)


class _Reached:
    """Which modules and functions ``import torch`` runs, by the imports that are written out."""

    def __init__(self, source_of: Sources) -> None:
        self._source_of = source_of
        self._trees: dict[str, tuple[str, ast.Module] | None] = {}
        self.functions: set[tuple[str, str]] = set()
        self.modules: set[str] = set()
        self._waiting = [_ROOT]
        while self._waiting:
            module = self._waiting.pop()
            found = self._tree(module)
            if module not in self.modules and found is not None:
                self.modules.add(module)
                self._follow(module, found[1].body)

    def runs(self, path: str, function: str) -> bool:
        module = _module_name(path)
        return module in self.modules and (not function or (module, function) in self.functions)

    def _follow(self, module: str, body: list[ast.stmt]) -> None:
        for node in _at_import(body):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self._want(alias.name)
            elif isinstance(node, ast.ImportFrom):
                self._want_from(module, node)
            elif isinstance(node, ast.Call):
                self._call(_dotted(node.func))

    def _want(self, name: str) -> None:
        parts = name.split(".")
        if parts[0] == _ROOT:
            self._waiting += [".".join(parts[: count + 1]) for count in range(len(parts))]

    def _want_from(self, module: str, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            found = self._tree(module)
            is_package = found is not None and found[0].endswith("/__init__.py")
            up = node.level - 1 if is_package else node.level
            parent = ".".join(module.split(".")[: len(module.split(".")) - up])
            base = f"{parent}.{base}".rstrip(".")
        self._want(base)
        for alias in node.names:
            self._want(f"{base}.{alias.name}")

    def _call(self, dotted: str) -> None:
        module, _, name = dotted.rpartition(".")
        found = self._tree(module) if module.split(".")[0] == _ROOT else None
        if found is None or (module, name) in self.functions:
            return
        for node in found[1].body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                self.functions.add((module, name))
                self._follow(module, node.body)

    def _tree(self, module: str) -> tuple[str, ast.Module] | None:
        if module not in self._trees:
            stem = module.replace(".", "/")
            paths = (f"{stem}/__init__.py", f"{stem}.py")
            found = next(((path, text) for path in paths if (text := self._source_of(path))), None)
            self._trees[module] = None if found is None else (found[0], ast.parse(found[1]))
        return self._trees[module]


def _at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Walk the statements that run with a body, without bodies of functions and type-only code."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in _dotted(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            waiting += ast.iter_child_nodes(node)


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
