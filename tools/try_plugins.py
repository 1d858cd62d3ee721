"""Runs cases of sdperf beside other plugins of pytest, each real and in an environment of its own.

    python -m tools.try_plugins                  all of them; exit status 1 where one differs
    python -m tools.try_plugins cov html         some of them
    python -m tools.try_plugins --write          also write what was tried into docs/plugins.md

An environment lies over the one that this runs in: it adds the plugin, and the checkout. Plugins of
pytest that the environment below has are switched off, so that each is met alone. What each comes
to is written down here and compared with what happens.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.try_wheel import QUICK, ROOT, Try, run

PAGE: Final = ROOT / "docs" / "plugins.md"
BEGIN, END = "<!-- tried: begin -->", "<!-- tried: end -->"

CASE: Final = "def test_case(sd_benchmark):\n    sd_benchmark.latency()\n"
FLAKY: Final = """
import pathlib

def test_flaky():
    mark = pathlib.Path("been-here")
    is_first = not mark.exists()
    mark.touch()
    assert not is_first

def test_flaky_case(sd_benchmark):
    sd_benchmark.latency()
    mark = pathlib.Path("been-here-too")
    is_first = not mark.exists()
    mark.touch()
    assert not is_first
"""
STRICT: Final = """
import asyncio
import pytest

@pytest.mark.asyncio
async def test_of_ones_own():
    await asyncio.sleep(0)
"""
AUTO: Final = """
import asyncio

async def test_of_ones_own():
    await asyncio.sleep(0)

async def test_case_in_a_loop(sd_benchmark):
    sd_benchmark.latency()
"""
SUBJECT: Final = "def make(request):\n    return request.load()\n"
LOADED: Final = {
    "pytest-asyncio": "asyncio",
    "pytest-codspeed": "codspeed",
    "pytest-cov": "pytest_cov",
    "pytest-html": "html",
    "pytest-randomly": "randomly",
    "pytest-repeat": "pytest_repeat",
    "pytest-rerunfailures": "rerunfailures",
    "pytest-sugar": "sugar",
    "pytest-timeout": "timeout",
    "pytest-xdist": "xdist",
}
"""What pytest calls each plugin."""


@dataclass(frozen=True)
class Trial:
    """A plugin, how it is used, and what that comes to.

    Attributes:
        plugin: Its name on the index.
        use: What is typed, as the page shows it; empty is nothing.
        arguments: What is typed.
        answer: ``works`` or ``refused``.
        about: What somebody who uses both has to know.
        says: What is printed.
        status: pytest's exit status.
        files: Tests and modules by file name.
    """

    plugin: str
    use: str
    arguments: tuple[str, ...]
    answer: str
    about: str
    says: str
    status: int = 0
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name without ``pytest-``."""
        return self.plugin.removeprefix("pytest-")


TRIALS: Final = (
    Trial(
        "pytest-asyncio",
        "asyncio_mode=strict",
        ("--asyncio-mode=strict",),
        "works",
        "cases are plain functions; coroutines beside them run as ever",
        "2 passed",
        files={"test_loop.py": STRICT},
    ),
    Trial(
        "pytest-asyncio",
        "asyncio_mode=auto",
        ("--asyncio-mode=auto",),
        "works",
        "a case may be a coroutine; the loop stands still while it is measured",
        "3 passed",
        files={"test_loop.py": AUTO},
    ),
    Trial(
        "pytest-timeout",
        "--timeout=300",
        ("--timeout=300",),
        "works",
        "the limit is for a whole case, with loading; sd_timeout is for one generation",
        "1 passed",
    ),
    Trial(
        "pytest-randomly",
        "",
        ("-p", "randomly"),
        "works",
        "cases of a pipeline stay together, which is loaded once; seeds of pictures are sdperf's",
        "1 passed",
    ),
    Trial(
        "pytest-rerunfailures",
        "--reruns=1",
        ("--reruns=1",),
        "works",
        "the last run of a case counts, and the summary says that there were others",
        "repeated: 1 case took 2 runs",
        files={"test_flaky.py": FLAKY},
    ),
    Trial(
        "pytest-cov",
        "--cov",
        ("--cov=subject", "--sd-subject=subject:make"),
        "works",
        "what runs in workers, a subject above all, is not seen, and not slowed down either",
        "Module subject was never imported",
        files={"subject.py": SUBJECT},
    ),
    Trial(
        "pytest-sugar",
        "",
        ("--force-sugar",),
        "works",
        "its lines take the place of sdperf's; the summary is the same",
        "1 case: 1 NO BASELINE",
    ),
    Trial(
        "pytest-xdist",
        "-n 2",
        ("-n", "2"),
        "refused",
        "cases that run at once disturb each other; sdperf has workers of its own (`--sd-workers`)",
        "benchmarks cannot run under xdist",
        status=1,
    ),
    Trial(
        "pytest-html",
        "--html",
        ("--html=page.html", "--self-contained-html"),
        "works",
        "a failing verdict is a failed test there; `--sd-html` has figures and pictures",
        "1 passed",
    ),
    Trial(
        "pytest-codspeed",
        "",
        (),
        "works",
        "without --codspeed it does nothing",
        "1 passed",
    ),
    Trial(
        "pytest-codspeed",
        "--codspeed",
        ("--codspeed",),
        "refused",
        "it takes the fixture `benchmark` from pytest-benchmark, which times sdperf's cases",
        "whose place pytest-codspeed takes",
        status=4,
    ),
    Trial(
        "pytest-repeat",
        "--count=2",
        ("--count=2",),
        "works",
        "each run is a case with a name of its own, and is compared as such",
        "2 passed",
    ),
)


def make_environment(folder: Path, plugin: str) -> str:
    """Make an environment over this one that has a plugin; return the plugin's version."""
    venv.create(folder, with_pip=False)
    below = sysconfig.get_path("purelib")
    (lib,) = folder.glob("lib/python*/site-packages")
    (lib / "below.pth").write_text(f"{ROOT}\n{below}\n", encoding="utf-8")
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", plugin], check=True)
    ask = f"import importlib.metadata as found; print(found.version({plugin!r}))"
    return subprocess.check_output([python, "-c", ask], text=True).strip()


def list_switches(plugin: str) -> list[str]:
    """Return what switches all other plugins off that are tried here."""
    others = (name for one, name in LOADED.items() if one != plugin)
    return [word for name in others for word in ("-p", f"no:{name}")]


def try_one(trial: Trial, environment: Path, folder: Path) -> str | None:
    """Run pytest beside a plugin; return what differs from what is written down, if anything."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for name, text in ({"test_case.py": CASE} | dict(trial.files)).items():
        (folder / name).write_text(text, encoding="utf-8")
    words = ("python", "-m", "pytest", *list_switches(trial.plugin), *QUICK, *trial.arguments)
    return run(Try(words, (trial.status,), trial.says), environment, folder)


def format_rows(trials: tuple[Trial, ...], versions: Mapping[str, str]) -> list[str]:
    """Return the table of the page."""
    rows = ["| plugin | used with | beside sdperf | know that |", "| --- | --- | --- | --- |"]
    for one in trials:
        name = f"{one.plugin} {versions.get(one.plugin, '')}".strip()
        use = f"`{one.use}`" if one.use else ""
        rows.append(f"| {name} | {use} | {one.answer} | {one.about} |")
    return rows


def replace_table(page: str, rows: list[str]) -> str:
    """Put the table into the page between its marks."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return "\n".join([f"{before}{BEGIN}", *rows, f"{END}{after}"])


def read_versions(page: str) -> dict[str, str]:
    """Read back which versions the page says were tried."""
    return dict(re.findall(r"^\| (pytest-[a-z]+) (\S+) \|", page, re.MULTILINE))


def main() -> int:
    """Try each plugin, say how it ended, and write the page if that is asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="plugins, such as cov (default: all)")
    parser.add_argument("--write", action="store_true", help="write docs/plugins.md")
    given = parser.parse_args()
    known = {one.name for one in TRIALS}
    if unknown := set(given.names) - known:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    chosen = [one for one in TRIALS if not given.names or one.name in given.names]
    versions: dict[str, str] = {}
    faults = 0
    with tempfile.TemporaryDirectory(prefix="sdperf-plugins-") as name:
        folder = Path(name).resolve()
        for number, trial in enumerate(chosen):
            environment = folder / trial.name
            if not environment.exists():
                versions[trial.plugin] = make_environment(environment, trial.plugin)
            start_s = time.monotonic()
            fault = try_one(trial, environment, folder / f"repository-{number}")
            took_s = time.monotonic() - start_s
            state = "ok" if fault is None else "FAILED"
            used = " ".join((trial.plugin, versions[trial.plugin], trial.use)).strip()
            print(f"{state} {took_s:5.1f} s  {used}: {trial.answer}", flush=True)
            if fault is not None:
                faults += 1
                print(fault, flush=True)
    print(f"{faults} of {len(chosen)} failed")
    if given.write and not faults:
        page = PAGE.read_text(encoding="utf-8")
        rows = format_rows(TRIALS, read_versions(page) | versions)
        PAGE.write_text(replace_table(page, rows), encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
