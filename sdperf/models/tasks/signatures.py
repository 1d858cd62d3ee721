"""Reads calls and mappings of the installed diffusers from its source, without importing it."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, Literal

Mapped = Literal["TEXT2IMAGE", "IMAGE2IMAGE", "INPAINT"]
"""A task that diffusers maps classes to."""

_AUTO: Final = "auto_pipeline.py"
_DEEPEST_BASE: Final = 4


def find_call(class_name: str, *, depth: int = 0) -> ast.FunctionDef | None:
    """Find a class's call, its own or that of the first base with one; four classes deep."""
    for path in _list_sources():
        text = path.read_text(encoding="utf-8")
        if not re.search(rf"^class {re.escape(class_name)}\b", text, re.MULTILINE):
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and node.name == class_name:
                own = (one for one in node.body if isinstance(one, ast.FunctionDef))
                call = next((one for one in own if one.name == "__call__"), None)
                if call is not None or depth > _DEEPEST_BASE:
                    return call
                bases = (base.id for base in node.bases if isinstance(base, ast.Name))
                inherited = (find_call(base, depth=depth + 1) for base in bases)
                return next((one for one in inherited if one is not None), None)
    return None


@cache
def read_parameters(class_name: str) -> dict[str, object] | None:
    """Return the arguments of a pipeline's call with their constant defaults, else ``None``.

    Args:
        class_name: Class name in diffusers.

    Returns:
        The default of each argument, which is ``None`` also without a constant default; ``None``
        where this diffusers lacks the class.
    """
    call = find_call(class_name)
    if call is None:
        return None
    named = [*call.args.posonlyargs, *call.args.args]
    plain: list[ast.expr | None] = [None] * (len(named) - len(call.args.defaults))
    defaults = zip(
        [*named, *call.args.kwonlyargs],
        [*plain, *call.args.defaults, *call.args.kw_defaults],
        strict=True,
    )
    return {
        argument.arg: value.value if isinstance(value, ast.Constant) else None
        for argument, value in defaults
        if argument.arg != "self"
    }


@cache
def read_mapping(task: Mapped) -> dict[str, str]:
    """Return the class that diffusers maps to a task for each of its families, in its order."""
    for path in _list_roots():
        source = path / _AUTO
        if not source.is_file():
            continue
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and _name_of(node) == f"AUTO_{task}_PIPELINES_MAPPING":
                return dict(_list_pairs(node.value))
    return {}


def _name_of(node: ast.Assign) -> str:
    target = node.targets[0]
    return target.id if isinstance(target, ast.Name) else ""


def _list_pairs(value: ast.expr) -> Iterator[tuple[str, str]]:
    """List the pairs of ``OrderedDict([("family", Class), ...])``."""
    for node in ast.walk(value):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            key, kind = node.elts
            if isinstance(key, ast.Constant) and isinstance(kind, ast.Name):
                yield str(key.value), kind.id


def _list_sources() -> Iterator[Path]:
    for folder in _list_roots():
        yield from sorted(folder.rglob("pipeline_*.py"))


def _list_roots() -> list[Path]:
    spec = importlib.util.find_spec("diffusers")
    roots = None if spec is None else spec.submodule_search_locations
    return [Path(root, "pipelines") for root in roots or ()]
