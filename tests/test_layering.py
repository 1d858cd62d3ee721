"""The import rule of the architecture, held against the code: only from lower layers."""

import ast
from pathlib import Path

import pytest

import sdperf

PACKAGE = Path(sdperf.__file__).parent

LAYERS = {
    "urls": -1,
    "settings": 0,
    "errors": 0,
    "units": 0,
    "folders": 0,
    "streams": 0,
    "suite": 0,
    "shell": 1,
    "waiting": 0,
    "git": 2,
    "leftovers": 1,
    "outputs": 1,
    "stats": 1,
    "images": 1,
    "device": 1,
    "record": 2,
    "models": 3,
    "measure": 4,
    "pipeline": 4,
    "engines": 5,
    "mps_check": 5,
    "store": 5,
    "scaffold": 5,
    "run": 6,
    "judging": 7,
    "ab": 8,
    "bisect": 9,
    "tune": 9,
    "sweep": 10,
    "report": 11,
    "nightly": 12,
    "plugin": 12,
    "cli": 13,
    "__main__": 14,
}
TORCH_FREE = (
    "plugin",
    "cli",
    "report",
    "stats",
    "store",
    "record",
    "judging",
    "bisect",
    "tune",
    "sweep",
)
HEAVY = {"torch", "diffusers", "transformers"}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def walk_statements(tree):
    """An import is a statement, which no expression holds: to look into those takes ten times."""
    found = [tree]
    for node in found:
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            found += getattr(node, name, ())
    return found


def imported_rooms(tree):
    for node in walk_statements(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sdperf."):
            yield node.module.split(".")[1], node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("sdperf."):
                    yield alias.name.split(".")[1], node.lineno


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_lower_layers(path):
    room = room_of(path)
    if room == "__init__":
        pytest.skip("the package itself")
    assert room in LAYERS, f"{room} has no layer: say in tests/test_layering.py where it belongs"
    for imported, line in imported_rooms(ast.parse(path.read_text(encoding="utf-8"))):
        if imported != room:
            assert LAYERS[imported] < LAYERS[room], f"{path.name}:{line} imports sdperf.{imported}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_that_load_no_torch_import_it_only_inside_functions(path):
    source = path.read_text(encoding="utf-8")
    if room_of(path) not in TORCH_FREE or not any(name in source for name in HEAVY):
        return
    for node in ast.parse(source).body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        assert not HEAVY & {name.split(".")[0] for name in names}, f"{path.name}:{node.lineno}"


def test_a_worker_and_an_unused_plugin_do_without_msgspec():
    """Only the reader of records loads it, when it reads; of a worker, only an engine's cache."""
    readers = set()
    for path in modules():
        source = path.read_text(encoding="utf-8")
        if not any(name in source for name in ("msgspec", "sdperf.record.json")):
            continue
        tree = ast.parse(source)
        where = path.relative_to(PACKAGE).as_posix()
        imports = [one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)]
        if any("msgspec" in ast.unparse(one) for one in imports):
            assert where == "record/json.py"
            assert not any("msgspec" in ast.unparse(one) for one in tree.body if one in imports)
        if any("sdperf.record.json" in ast.unparse(one) for one in imports):
            readers.add(where)
    in_worker = ("run/worker/", "pipeline/", "device/", "engines/", "measure/")
    assert [one for one in readers if one.startswith(in_worker)] == ["engines/cache.py"]


@pytest.mark.parametrize(
    "source",
    [
        "{}",
        "def late():\n    if True:\n        pass\n    else:\n        {}",
        "try:\n    pass\nexcept OSError:\n    {}",
        "try:\n    pass\nfinally:\n    {}",
        "match 1:\n    case 1:\n        {}",
    ],
)
def test_the_rule_can_fail(source):
    tree = ast.parse(source.format("from sdperf.plugin import options"))
    (imported, _), *_ = imported_rooms(tree)
    assert LAYERS[imported] > LAYERS["stats"]


def test_no_wrapped_text_divides_a_name_at_its_hyphen():
    """A path or an option that is divided cannot be copied."""
    for path in modules():
        source = path.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(source)) if "textwrap.wrap" in source else ():
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "textwrap.wrap":
                continue
            assert "break_on_hyphens" in {one.arg for one in call.keywords}, (path, call.lineno)
