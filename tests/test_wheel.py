"""What `pip install sdperf` gives people, looked at in the built wheel."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import sdperf
from tests.support.installed import ASKED, find_fault

ROOT = Path(__file__).parents[1]


def build(kind, folder):
    if not (ROOT / "sdperf").is_dir():
        pytest.skip("these tests run on a wheel, apart from the sources that it was built from")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Names of the files in the source distribution, below its one folder."""
    with tarfile.open(build("sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_it_carries_the_model_its_references_and_the_licences(wheel):
    names = set(wheel.namelist())
    for part in ("unet", "vae"):
        assert f"sdperf/models/embedded/{part}/diffusion_pytorch_model.safetensors" in names
    assert "sdperf/models/embedded/references/references.json" in names
    assert "sdperf/images/input/picture.png" in names
    assert "sdperf/py.typed" in names
    for name in ("0001_first.py", "0002_sweeps.py"):
        assert f"sdperf/store/history/migrations/versions/{name}" in names
    for name in ("report.html.j2", "report.css", "report.js"):
        assert f"sdperf/report/html/templates/{name}" in names
    for licence in ("LICENSE", "NOTICE"):
        assert any(name.endswith(f"licenses/{licence}") for name in names)


def test_the_suite_runs_from_the_wheel_and_its_cases_are_named_as_a_copy_of_it(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    (tmp_path / "repository").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "--pyargs", "sdperf.suite"],
        cwd=tmp_path / "repository",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    shipped = {path.name for path in (ROOT / "benchmarks").glob("test_*.py")}
    found = {line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line}
    assert found == {f"benchmarks/{name}" for name in shipped}


def test_it_carries_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sdperf"}
    assert sum(info.compress_size for info in wheel.infolist()) < 14_000_000


def test_what_a_package_index_shows_has_an_author_and_no_link_that_breaks_there(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    head, _, shown = wheel.read(name).decode().partition("\n\n")
    assert "Author: The sdperf authors" in head
    assert shown.startswith("# sdperf")
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert [link for link in links if not link.startswith("https://")] == []
    assert "pip install sdperf" not in shown  # nothing of that name is published


def test_the_sources_hold_the_tests_with_all_that_they_read(sources):
    followed = subprocess.run(
        ["git", "ls-files", "tests", "docs/results", "evidence", "tools", "benchmarks"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    if not followed:
        pytest.skip("this checkout is no git repository")
    assert sorted(set(followed) - sources) == []
    assert not {name for name in sources if name.startswith((".venv", ".sdperf", ".benchmarks"))}


def test_it_registers_the_plugin_and_the_command(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(entry_points).decode()
    assert "[pytest11]\nsdperf = sdperf.plugin" in text
    assert "sdperf = sdperf.cli:main" in text


@pytest.mark.parametrize(
    ("file", "asked", "is_refused"),
    [
        ("/x/.venv/lib/python3.12/site-packages/sdperf/__init__.py", "1", False),
        ("/x/checkout/sdperf/__init__.py", "1", True),
        ("/x/my-site-packages/sdperf/__init__.py", "1", True),
        ("/x/checkout/sdperf/__init__.py", "", False),
    ],
)
def test_a_checkout_is_refused_where_the_wheel_is_asked_for(file, asked, is_refused):
    fault = find_fault(file, {ASKED: asked})
    assert (fault is not None) == is_refused
    assert fault is None or file in fault


def test_a_session_on_the_wrong_package_does_not_begin():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "test_units.py")],
        cwd=ROOT,
        env=os.environ | {ASKED: "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    is_installed = find_fault(sdperf.__file__, {ASKED: "1"}) is None
    assert done.returncode == (0 if is_installed else 4), done.stdout + done.stderr
    assert ("are to run on an installed sdperf" in done.stderr) != is_installed


def test_the_readme_makes_a_wheel_with_what_each_environment_has():
    """Only the workshop of `make test` has hatchling; pip fetches it to build."""
    words = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "`pip wheel --no-deps .`" in words
    assert "hatchling" not in words
