"""Does what a newcomer does: builds the wheel, installs it elsewhere, types the first commands.

    python -m tools.try_wheel                       versions of constraints.txt
    python -m tools.try_wheel --versions oldest     the lowest that pyproject.toml promises
    python -m tools.try_wheel --versions newest     the newest that pip finds

The environment is fresh and has no extras, so that a missing one is met as well. torch is that of
``--torch``. Everything runs in a folder that is no checkout of sdperf. Exit status 1: a command did
not end as it should; what it printed is shown.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

from sdperf.cli import COMMANDS
from tools.lowest_versions import PROJECT, list_lowest

ROOT = PROJECT.parent
OWN_TEST = """
import sys

def test_own():
    assert "numpy" not in sys.modules

def test_own_latency(sd_benchmark):
    sd_benchmark.latency()
"""
QUICK = (
    "--sd-steps=2", "--sd-rounds=1", "--sd-precision=fp32", "--sd-mode=sync", "--sd-workers=1",
    "--sd-history=off", "--sd-guards=off", "-p", "no:cacheprovider",
)  # fmt: skip
ACTIONS = (
    ("history", "import"),
    ("history", "prune"),
    ("baseline", "accept"),
    ("quality", "calibrate"),
)


@dataclass(frozen=True)
class Try:
    """One command line that is tried.

    Attributes:
        words: Program below the environment's ``bin``, and its arguments.
        status: Exit status that it should have.
        says: What it should print.
        columns: Width of the terminal.
    """

    words: tuple[str, ...]
    status: int = 0
    says: str = ""
    columns: int = 100


def list_tries() -> list[Try]:
    """Return what a newcomer types, in order."""
    helps = [Try(("sdperf", *words, "--help"), says="usage: sdperf") for words in list_commands()]
    return [
        *(Try(("pytest", "--help"), says="--sd-max-slowdown", columns=one) for one in (60, 100)),
        *helps,
        Try(("sdperf", "doctor", "--json"), says="fingerprint"),
        Try(
            ("sdperf", "generate", "red apple", "-o", "apple.png", "--steps", "2"),
            says="first call",
        ),
        Try(("pytest", "-q", "-W", "error", *QUICK, "test_own.py"), says="1 NO BASELINE"),
        Try(
            ("pytest", "-q", *QUICK, "benchmarks", "-k", "latency and not gain or soundness"),
            says="PASS",
        ),
        Try(("pytest", *QUICK, "--sd-html=x.html", "test_own.py"), 4, "sdperf[report]"),
        Try(("pytest", *QUICK, "--sd-engine=onnx", "test_own.py"), 4, "sdperf[onnx]"),
    ]


def list_commands() -> list[tuple[str, ...]]:
    """Return the words of every command."""
    return [(), *((name,) for name in COMMANDS), *ACTIONS]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def install(environment: Path, wheel: Path, versions: str, torch: str) -> None:
    """Make a fresh environment with torch, then the wheel."""
    venv.create(environment, with_pip=True)
    constraints = environment / "constraints.txt"
    pinned = {
        "pinned": lambda: (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines(),
        "oldest": lambda: list_lowest(tomllib.loads(PROJECT.read_text("utf-8"))["project"], ()),
        "newest": list,
    }[versions]()
    others = [line for line in pinned if not line.startswith("torch==")]
    constraints.write_text("\n".join([*others, f"torch=={torch}"]) + "\n", encoding="utf-8")
    pip = [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    pip += ["--constraint", str(constraints)]
    for what in ("torch", str(wheel)):  # torch first, else pip may choose a build of gigabytes
        subprocess.run([*pip, what], check=True)


def run(tried: Try, environment: Path, folder: Path) -> str | None:
    """Run one command line.

    Returns:
        What is wrong with how it ended; ``None`` where nothing is.
    """
    program, *arguments = tried.words
    variables = os.environ | {"COLUMNS": str(tried.columns), "OMP_NUM_THREADS": "1"}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(environment / "bin" / program), *arguments],
        cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    if done.returncode != tried.status:
        return f"status {done.returncode}, expected {tried.status}\n{printed[-4000:]}"
    if tried.says not in printed or "Traceback" in printed:
        return f"expected {tried.says!r} and no traceback\n{printed[-4000:]}"
    return None


def main() -> int:
    """Build, install, try."""
    default = next(
        line.partition("==")[2]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith("torch==")
    )
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--versions", choices=("pinned", "oldest", "newest"), default="pinned")
    parser.add_argument("--torch", default=default, help=f"version that pip finds ({default})")
    arguments = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder, start_s = Path(name), time.monotonic()
        environment, elsewhere = folder / "environment", folder / "another-repository"
        install(environment, build_wheel(folder), arguments.versions, arguments.torch)
        print(f"installed in {time.monotonic() - start_s:.0f} s", flush=True)
        shutil.copytree(ROOT / "benchmarks", elsewhere / "benchmarks")
        (elsewhere / "test_own.py").write_text(OWN_TEST, encoding="utf-8")
        (elsewhere / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        for tried in list_tries():
            fault = run(tried, environment, elsewhere)
            print(f"{'ok' if fault is None else 'FAILED'}  {' '.join(tried.words)}", flush=True)
            if fault is not None:
                faults += 1
                print(fault, flush=True)
        print(f"{faults} of {len(list_tries())} failed, {time.monotonic() - start_s:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
