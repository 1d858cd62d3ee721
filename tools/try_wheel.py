"""Does what a newcomer does: builds the wheel, installs it elsewhere, types the first commands.

    python -m tools.try_wheel                       versions of constraints.txt
    python -m tools.try_wheel --versions oldest     the lowest that pyproject.toml promises
    python -m tools.try_wheel --versions newest     the newest that pip finds

The environment is fresh and has no extras, so that a missing one is met as well. torch is that of
``--torch``. Each command runs in a folder of its own that is no checkout of sdperf, as an account
that never ran it. The tool itself needs nothing but Python. Exit status 1: a command did not end
as it should; what it printed is shown.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
AT_ONCE = 2
"""Commands that run at the same time: what they measure is not looked at."""

LIMIT_S = 600.0
"""Time limit of one command, in seconds."""

FILES = {
    "pytest.ini": "[pytest]\n",
    "conftest.py": (
        "import os, sys\n"
        'assert "numpy" not in sys.modules, "numpy came before conftest.py"\n'
        'os.environ["OPENBLAS_NUM_THREADS"] = "1"\n'
    ),
    "test_own.py": (
        "import sys\n\n"
        "def test_own():\n"
        '    heavy = {"numpy", "PIL", "scipy", "torch"} & set(sys.modules)\n'
        "    assert not heavy\n"
    ),
    "test_own_case.py": "def test_own_case(sd_benchmark):\n    sd_benchmark.latency()\n",
}
"""What stands in the newcomer's repository beside a copy of ``benchmarks``."""

QUICK = (
    "--sd-steps=2", "--sd-rounds=1", "--sd-warmup=0", "--sd-size=64x64", "--sd-precision=fp32",
    "--sd-mode=sync", "--sd-workers=1", "--sd-history=off", "--sd-guards=off",
)  # fmt: skip
COMMANDS = """
import argparse, json
from sdperf.cli import make_parser

def list_commands(parser, words):
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from list_commands(below, [*words, word])

print(json.dumps(list(list_commands(make_parser(), []))))
"""
"""A program for the fresh environment: prints the words of every command as JSON."""


@dataclass(frozen=True)
class Try:
    """One command line that is tried.

    Attributes:
        words: Program below the environment's ``bin``, and its arguments.
        status: Exit statuses that it may have.
        says: What it has to print.
        columns: Width of the terminal.
    """

    words: tuple[str, ...]
    status: tuple[int, ...] = (0,)
    says: str = ""
    columns: int = 100


def list_tries(commands: list[list[str]], environment: Path) -> list[Try]:
    """Return what a newcomer types, in order.

    Args:
        commands: The words of every command of ``sdperf``; no words is the program itself.
        environment: Where the wheel is installed.
    """
    where = "import sdperf; print(sdperf.__file__)"
    refused = [
        (("--sd-html=x.html",), "sdperf[report]"),
        (("--sd-engine=onnx",), "sdperf[onnx]"),
        (("--sd-optimisations=int8_weights",), "sdperf[quantise]"),
        (("--sd-cluster=tcp://127.0.0.1:1",), "sdperf[cluster]"),
        (("--sd-history=postgresql://a@127.0.0.1/b",), "sdperf[postgres]"),
    ]
    refused_commands = [
        (("tune",), "sdperf[tune]"),
        (("report", "run.json"), "sdperf[report]"),
        (("figures", "run.json"), "sdperf[report]"),
        (("history", "list", "--history", "postgresql://a@127.0.0.1/b"), "sdperf[postgres]"),
        (("ab", "--a=optimisations=int8_weights", "--b=mode=async"), "sdperf[quantise]"),
        (("ab", "--a=engine=onnx", "--b=mode=async"), "sdperf[onnx]"),
    ]
    return [
        Try(("python", "-c", where), says=str(environment / "lib")),
        *(Try(("pytest", "--help"), says="--sd-max-slowdown", columns=one) for one in (60, 100)),
        *(
            Try(("sdperf", *words, "--help"), says=" ".join(("usage: sdperf", *words)))
            for words in commands
        ),
        Try(("python", "-m", "sdperf", "--help"), says="usage: sdperf"),
        Try(("sdperf", "doctor"), (0, 1), "fingerprint"),
        Try(("sdperf", "generate", "red apple", "-o", "a.png", "--steps=2"), says="first call"),
        Try(("pytest", "-W", "error", "test_own.py"), says="1 passed"),
        Try(("pytest", "-W", "error", *QUICK, "test_own_case.py"), says="1 case: 1 NO BASELINE"),
        # All of the shipped suite: five questions about images pass, nothing is red.
        Try(("pytest", *QUICK, "benchmarks"), says="5 PASS"),
        Try(
            ("sdperf", "init", "--subject", "new", "--workflow", "hosted", "--yes"),
            says="wrote",
        ),
        # The same with nothing copied; its cases are named alike.
        Try(("pytest", *QUICK, "-v", "--pyargs", "sdperf.suite"), says="5 PASS"),
        Try(
            ("pytest", "--collect-only", "-q", "--pyargs", "sdperf.suite"),
            says="benchmarks/test_latency.py::test_latency[fp32-sync-1w]",
        ),
        *(
            Try(("pytest", *QUICK, *words, "test_own_case.py"), (4,), says)
            for words, says in refused
        ),
        *(Try(("sdperf", *words), (2,), says) for words, says in refused_commands),
    ]


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (path,) = folder.glob("sdperf-*.whl")
    return path


def install(environment: Path, wheel: Path, versions: str, torch: str) -> None:
    """Make a fresh environment with torch, then the wheel."""
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet"]
    # torch comes first, else pip may choose a build of gigabytes.
    subprocess.run([*pip, f"torch=={torch}", "packaging"], check=True)
    lowest = [python, "-m", "tools.lowest_versions"]
    lines = {
        "pinned": lambda: CONSTRAINTS.read_text(encoding="utf-8"),
        "oldest": lambda: subprocess.check_output(lowest, cwd=ROOT, text=True),
        "newest": str,
    }[versions]().splitlines()
    pinned = [line for line in lines if not line.startswith("torch==")]
    constraints = environment / "constraints.txt"
    constraints.write_text("\n".join([*pinned, f"torch=={torch}"]) + "\n", encoding="utf-8")
    subprocess.run([*pip, "--upgrade", "--constraint", str(constraints), str(wheel)], check=True)


def make_repository(folder: Path) -> None:
    """Write the newcomer's repository."""
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")


def run(tried: Try, environment: Path, folder: Path) -> str | None:
    """Run one command line.

    Args:
        tried: What is typed and how it should end.
        environment: Its ``bin`` has the programs.
        folder: The newcomer's repository; also the home of the account.

    Returns:
        What is wrong with how it ended; ``None`` where nothing is.
    """
    program, *arguments = tried.words
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST_", "SDPERF_", "XDG_"))
    } | {"COLUMNS": str(tried.columns), "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    try:
        done = subprocess.run(
            [str(environment / "bin" / program), *arguments],
            cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not end within {LIMIT_S:.0f} s"
    printed = done.stdout + done.stderr
    if done.returncode not in tried.status:
        expected = " or ".join(map(str, tried.status))
        return f"status {done.returncode}, expected {expected}\n{printed[-4000:]}"
    if tried.says not in printed:
        return f"expected {tried.says!r}\n{printed[-4000:]}"
    if "Traceback (most recent" in printed:
        return f"expected no traceback\n{printed[-4000:]}"
    return None


def try_all(environment: Path, folder: Path) -> int:
    """Run every command line, each in a repository of its own, and print how it ended.

    Returns:
        How many did not end as they should.
    """
    words = subprocess.check_output([str(environment / "bin/python"), "-c", COMMANDS], cwd=folder)
    tries = list_tries(json.loads(words), environment)

    def run_one(number: int) -> tuple[float, str | None]:
        repository, start_s = folder / f"repository-{number}", time.monotonic()
        make_repository(repository)
        fault = run(tries[number], environment, repository)
        return time.monotonic() - start_s, fault

    faults = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for tried, (took_s, fault) in zip(tries, pool.map(run_one, range(len(tries))), strict=True):
            state = "ok" if fault is None else "FAILED"
            print(f"{state} {took_s:5.1f} s  {' '.join(tried.words)}", flush=True)
            if fault is not None:
                faults += 1
                print(fault, flush=True)
    print(f"{faults} of {len(tries)} failed")
    return faults


def main() -> int:
    """Build, install, try."""
    default = next(
        line.partition("==")[2]
        for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()
        if line.startswith("torch==")
    )
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--versions", choices=("pinned", "oldest", "newest"), default="pinned")
    parser.add_argument("--torch", default=default, help=f"version that pip finds ({default})")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sdperf-wheel-") as name:
        folder, start_s = Path(name).resolve(), time.monotonic()
        environment = folder / "environment"
        install(environment, build_wheel(folder), arguments.versions, arguments.torch)
        print(f"installed in {time.monotonic() - start_s:.0f} s", flush=True)
        faults = try_all(environment, folder)
        print(f"done in {time.monotonic() - start_s:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
