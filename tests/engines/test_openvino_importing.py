"""OpenVINO is imported without telling anybody, in one place."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTING = Path("sdperf", "engines", "openvino", "importing.py")

WATCHED = """
import json, sys
seen = []

def watch(event, given):
    if event in ("os.fork", "os.posix_spawn", "socket.getaddrinfo", "socket.connect"):
        seen.append(event)
        raise PermissionError(event)  # nothing leaves this machine, whatever is found

sys.addaudithook(watch)
"""

BEFORE = "import torch  # a build for CUDA looks for its libraries with ldconfig\n"

QUIET = """
from sdperf.engines.attaching import make_engine
from sdperf.engines.catalogue import ENGINES
make_engine(ENGINES["openvino"], "cpu")
from openvino.tools.ovc import convert_impl, telemetry_utils, utils
names = {one.tm.__name__ for one in (convert_impl, telemetry_utils, utils)}
telemetry_utils.send_framework_info("pytorch")
import openvino_telemetry
print(json.dumps([seen, sorted(names), openvino_telemetry.__name__]))
"""

PLAIN = """
try:
    import openvino
finally:
    print(json.dumps(seen))
"""

needs_telemetry = pytest.mark.skipif(
    find_spec("openvino") is None or find_spec("openvino_telemetry") is None,
    reason="OPENVINO'S TELEMETRY IS NOT TESTED: pip install 'sdperf[openvino]'",
)


def run_watched(code, home, before=""):
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-c", before + WATCHED + code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**kept, "HOME": str(home)},  # without CI, in which nothing is sent
    )
    return json.loads(run.stdout.splitlines()[-1]), [path.name for path in home.rglob("*")]


@needs_telemetry
def test_the_engine_looks_nothing_up_forks_nothing_and_writes_nothing(tmp_path):
    (seen, names, telemetry), written = run_watched(QUIET, tmp_path / "home", BEFORE)
    assert seen == []
    assert written == []
    assert names == ["openvino.tools.ovc.telemetry_stub"]
    assert telemetry == "openvino_telemetry", "other code finds the package as before"


@needs_telemetry
def test_an_import_that_is_not_ours_is_seen(tmp_path):
    _, written = run_watched(PLAIN, tmp_path / "home")
    assert "intel" in written  # its sender is a thread, which may come too late to be watched


@pytest.mark.parametrize(
    ("planted", "event"),
    [
        ("import os; os.fork()", "os.fork"),
        ("import socket; socket.getaddrinfo('example.org', 80)", "socket.getaddrinfo"),
    ],
)
def test_what_is_forked_or_looked_up_is_seen(planted, event, tmp_path):
    code = f"try:\n    {planted}\nexcept PermissionError:\n    pass\nprint(json.dumps(seen))"
    assert run_watched(code, tmp_path / "home") == ([event], [])


def list_imports(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", "") in ("import_module", "importorskip")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


def imports_openvino(source):
    if "openvino" not in source:  # parsing every file takes seconds
        return False
    return "openvino" in {str(name).partition(".")[0] for name in list_imports(source)}


def find_importers(root):
    return [
        path.relative_to(root)
        for folder in ("sdperf", "evidence", "tests", "tools")
        for path in sorted((root / folder).rglob("*.py"))
        if imports_openvino(path.read_text("utf-8"))
    ]


def test_it_is_imported_in_one_place():
    assert find_importers(ROOT) == [IMPORTING]


@pytest.mark.parametrize(
    "line",
    ["import openvino as ov", "from openvino.frontend import X", "pytest.importorskip('openvino')"],
)
def test_another_place_is_found(tmp_path, line):
    (tmp_path / "sdperf").mkdir()
    (tmp_path / "sdperf" / "other.py").write_text(f"def work():\n    {line}\n", "utf-8")
    assert find_importers(tmp_path) == [Path("sdperf", "other.py")]
