"""An environment whose path has a blank is made once by `make`, and used from then on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """\
#!/bin/sh
printf '%s\\n' "$0 $*" >> "{journal}"
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin"
  for name in python pytest ruff mypy; do cp "{program}" "$3/bin/$name"; done
fi
"""
"""Stands in for Python and for all that an environment holds: writes down how it was called."""


@pytest.fixture
def called(tmp_path):
    """Return a function that makes a target and returns the command lines that were run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    journal, program = tmp_path / "journal", tmp_path / "python"
    program.write_text(PROGRAM.format(journal=journal, program=program))
    program.chmod(0o755)
    (tmp_path / "checkout").mkdir()
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "tools/lowest_versions.py",
        "tools/site/requirements.txt",
    ):
        copy = tmp_path / "checkout" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)

    def run(target, environment):
        journal.write_text("")
        done = subprocess.run(
            ["make", target, f"VENV={environment}", f"PYTHON={program}"],
            cwd=tmp_path / "checkout",
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return journal.read_text().splitlines()

    return run


@pytest.mark.parametrize("name", ["plain", "else where", "two  blanks here"])
@pytest.mark.parametrize(
    ("target", "suffix", "does"),
    [
        ("bench", "", "/bin/pytest benchmarks"),
        ("test", "", "/bin/pytest --numprocesses 2"),
        ("lint", "", "/bin/ruff check ."),
        ("test-oldest", "-oldest", "/bin/pytest --numprocesses 2"),
        ("test-newest", "-newest", "/bin/pytest --numprocesses 2"),
        ("site", "-site", "/bin/python -m tools.site"),
    ],
)
def test_an_environment_is_made_once(called, tmp_path, target, suffix, does, name):
    environment = tmp_path / name
    first = called(target, environment)
    made = [line for line in first if f"-m venv {environment}{suffix}" in line]
    assert len(made) == 1
    assert any(line.startswith(f"{environment}{suffix}{does}") for line in first)
    again = called(target, environment)
    assert not [line for line in again if "-m venv" in line or "-m pip" in line]
    assert any(line.startswith(f"{environment}{suffix}{does}") for line in again)
    assert not (tmp_path / name.split()[0]).exists() or name == "plain"


def test_what_changes_the_requirements_makes_it_anew(called, tmp_path):
    environment = tmp_path / "else where"
    called("bench", environment)
    project = tmp_path / "checkout" / "pyproject.toml"
    stamp_ns = (environment / ".measures").stat().st_mtime_ns + 2_000_000_000
    os.utime(project, ns=(stamp_ns, stamp_ns))
    assert any("-m pip install" in line for line in called("bench", environment))
