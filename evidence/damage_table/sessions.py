"""Runs real pytest sessions of the embedded model in this process; reads what each gate said."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from evidence.damage_table.comparing import run_ab
from evidence.damage_table.subjects import name_function
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import Workload
from sdperf.store.runs import SavedRun, read_run

BENCHMARKS: Final = """
import pytest

fp32 = pytest.mark.sd_matrix("precision")

@fp32
def test_latency(sd_benchmark):
    sd_benchmark.latency()

@fp32
def test_throughput(sd_benchmark):
    sd_benchmark.throughput()

def test_soundness(sd_quality):
    sd_quality.soundness()

def test_components(sd_quality):
    sd_quality.components()

def test_trajectory(sd_quality):
    sd_quality.trajectory()

def test_images(sd_quality):
    sd_quality.images()
"""

COLUMNS: Final = ("latency", "batch", "L4", "base", "ab", "L2/L3")
CAUGHT, ERROR, TOLD, PASSED = "x", "e", "c", "-"
"""Fails the run; fails it with an error of its own; tells CHANGED; passes."""

_OPTIONS: Final = (
    "--sd-in-process",
    "--sd-precision=fp32",
    "--sd-mode=sync",
    "--sd-rounds=1",
    "--sd-batch-rounds=1",
    "--sd-warmup=1",
    "--sd-guards=off",
    "--sd-history=off",
    "--sd-confirm=0",
    "-p",
    "no:cacheprovider",
    "-q",
)


def list_findings(run: SavedRun, test: str) -> list[Finding]:
    """Return what a run said of a test, whatever its parameters."""
    return [
        finding
        for name, said in run.findings.items()
        if f"::test_{test}" in name
        for finding in said
    ]


def run_session(
    folder: Path, name: str, *, is_base: bool = False, watched: bool = False
) -> SavedRun:
    """Run a session of one damage.

    Args:
        folder: Where; the base lies there too. A session that is there already is not run again.
        name: The damage.
        is_base: Whether it is what the others are compared with.
        watched: Whether requests that were never made are drawn too, which takes longer.
    """
    saved = folder / ".sdperf" / f"{name_function(name)}{'-base' if is_base else ''}.json"
    if saved.exists():
        return read_saved(saved)
    test = folder / "test_damage.py"
    test.write_text(BENCHMARKS, encoding="utf-8")
    subject = f"evidence.damage_table.subjects:{name_function(name)}"
    storage = f"--benchmark-storage=file://{folder / 'runs'}"
    saving = "--benchmark-save=clean" if is_base else "--benchmark-compare"
    watching = () if watched else ("--sd-unwatched",)
    arguments = [
        *_OPTIONS,
        *watching,
        saving,
        storage,
        f"--rootdir={folder}",
        f"--sd-subject={subject}",
    ]
    said = io.StringIO()
    with _inside(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = pytest.main([*arguments, str(test)])
    if status not in (0, 1):
        raise RuntimeError(f"{name}: status {status}\n{said.getvalue()}")
    (folder / ".sdperf/last-run.json").replace(saved)
    return read_saved(saved)


@contextlib.contextmanager
def _inside(folder: Path) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def read_saved(path: Path) -> SavedRun:
    """Read a session."""
    return read_run(path, needs_rounds=True)


def read_columns(damaged: SavedRun, workload: Workload, name: str) -> dict[str, str]:
    """Say of each gate what it made of a damage.

    Args:
        damaged: The session of the damage, compared with that of the unchanged pipeline.
        workload: What it drew, for `sdperf ab`.
        name: The damage.
    """
    timed = {test: list_findings(damaged, test) for test in ("latency", "throughput")}
    own = {test: [one for one in said if not _is_of_base(one)] for test, said in timed.items()}
    of_base = [one for said in timed.values() for one in said if _is_of_base(one)]
    layers = {test: list_findings(damaged, test) for test in ("components", "trajectory")}
    return {
        "latency": _mark(own["latency"]),
        "batch": _mark(own["throughput"]),
        "L4": _mark([*list_findings(damaged, "images"), *list_findings(damaged, "soundness")]),
        "base": _mark(of_base),
        "ab": _mark(run_ab(workload, name)),
        "L2/L3": _mark([finding for said in layers.values() for finding in said]),
    }


def _is_of_base(finding: Finding) -> bool:
    """Tell whether a finding holds a case against the compared run."""
    return finding.gate in ("exactness", "imprint", "work") or "baseline" in finding.reason


_IMAGE_GATES: Final = frozenset({"image", "exactness", "imprint", "work", "plausibility"})


def _mark(findings: Sequence[Finding]) -> str:
    """Return the strongest answer of the gates that look at pictures and at what was executed."""
    outcomes = {one.outcome for one in findings if one.gate in _IMAGE_GATES}
    if outcomes & {Outcome.BROKEN, Outcome.DEGRADED, Outcome.INCOMPARABLE}:
        return CAUGHT
    if any(one.outcome is Outcome.BROKEN for one in findings):
        return ERROR
    return TOLD if Outcome.CHANGED in outcomes else PASSED
