"""No name of `sdperf` comes from what mypy leaves unread: it would accept any use of that name."""

import ast
import importlib
import re
import tomllib
from pathlib import Path

import sdperf

ROOT = Path(__file__).parents[1]
PACKAGE = Path(sdperf.__file__).parent
PARTLY_TYPED = {"mlx.*", "openvino.*"}
"""Left unread for a reason of their own, which `pyproject.toml` names."""


def read_rules(text):
    """Return by pattern whether mypy reads the modules."""
    found = tomllib.loads(text)["tool"]["mypy"]["overrides"]
    return {
        pattern: one["follow_imports"] == "normal"
        for one in found
        if "follow_imports" in one
        for pattern in one["module"]
        if pattern not in PARTLY_TYPED
    }


def is_read(module, rules):
    """Tell whether mypy reads a module; the longest pattern decides, as in mypy."""
    if module in rules:
        return rules[module]
    parts = module.split(".")
    patterns = (".".join(parts[:count]) + ".*" for count in range(len(parts), 0, -1))
    return next((rules[pattern] for pattern in patterns if pattern in rules), True)


def list_imports(source, packages):
    """Yield each module of the packages that a file imports, and each name with its module."""
    if not re.search(rf"^\s*(?:from|import) (?:{'|'.join(packages)})\b", source, re.MULTILINE):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((one.name, None) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.module, one.name) for one in node.names)


def find_home(module, name):
    """Return the module that defines a name; where this version lacks it, the one asked."""
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return module
    if isinstance(found, type(ast)):
        return found.__name__
    return getattr(found, "__module__", None) or module


def find_unread(sources, rules):
    packages = {pattern.partition(".")[0] for pattern in rules}
    asked = {
        one
        for source in sources
        for one in list_imports(source, packages)
        if one[0].partition(".")[0] in packages
    }
    homes = {(module, name): find_home(module, name) if name else module for module, name in asked}
    return sorted(
        f"{module}: {name}"
        for (module, name), home in homes.items()
        if not (is_read(module, rules) and is_read(home, rules))
    )


def test_no_name_that_sdperf_imports_comes_from_a_module_that_mypy_leaves_unread():
    rules = read_rules((ROOT / "pyproject.toml").read_text("utf-8"))
    assert not all(rules.values())
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    assert find_unread(sources, rules) == []
    hidden = {pattern: is_read for pattern, is_read in rules.items() if "unets" not in pattern}
    assert find_unread(sources, hidden) == ["diffusers: UNet2DConditionModel"]
    unread = "import torch.fx\nfrom torch.fx import Graph\n"
    assert find_unread([unread], rules) == ["torch.fx: Graph", "torch.fx: None"]
