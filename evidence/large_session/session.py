"""Seven cases of one pipeline in one pytest run, in a process of its own, with any sdperf."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

SEVEN_CASES: Final = '''"""Written by evidence.large_session."""


def test_latency(sd_benchmark):
    sd_benchmark.latency()


def test_throughput(sd_benchmark):
    sd_benchmark.throughput()


def test_soundness(sd_quality):
    sd_quality.soundness()


def test_repeatability(sd_quality):
    sd_quality.repeatability()


def test_components(sd_quality):
    sd_quality.components()


def test_trajectory(sd_quality):
    sd_quality.trajectory()


def test_images(sd_quality):
    sd_quality.images()
'''

_ROUNDS: Final = ("warm-up rounds", "measured rounds", "profiled rounds")
_VERDICTS: Final = re.compile(r"^(\d+ cases: .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Session:
    """What is run.

    Attributes:
        model: Folder of the pipeline.
        size_px: Edge of the pictures.
        steps: Denoising steps.
        images: Pictures of a batch.
        device: A ``--sd-device`` choice.
    """

    model: Path
    size_px: int
    steps: int
    images: int
    device: str

    def list_arguments(self) -> list[str]:
        """Return pytest's arguments."""
        options = {
            "model": self.model,
            "device": self.device,
            "precision": "bf16",
            "mode": "sync",
            "workers": 1,
            "size": f"{self.size_px}x{self.size_px}",
            "steps": self.steps,
            "images": self.images,
            "rounds": 3,
            "batch-rounds": 1,
            "history": "off",
        }
        return ["--sd-durations", *(f"--sd-{name}={value}" for name, value in options.items())]


def run_session(session: Session, code: Path) -> dict[str, Any]:
    """Run the session and return where its wall time went.

    Args:
        session: What is run.
        code: Folder that holds the package ``sdperf`` to be measured.

    Returns:
        ``wall_s`` of the whole process, ``seconds`` by activity, ``loads``, ``verdicts``.

    Raises:
        RuntimeError: pytest left no run behind.
    """
    with tempfile.TemporaryDirectory(prefix="sdperf-large-session-") as name:
        folder = Path(name)
        (folder / "test_seven.py").write_text(SEVEN_CASES, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        own = os.environ.get("PYTHONPATH", "")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(code.resolve()), own))),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-m", "pytest", *_name_plugins(), *session.list_arguments()]
        began_s = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        wall_s = time.monotonic() - began_s
        print(done.stdout, done.stderr, sep="\n", flush=True)
        path = folder / ".sdperf" / "last-run.json"
        if not path.is_file():
            raise RuntimeError(f"pytest ended with {done.returncode} and left no run behind")
        document = json.loads(path.read_text(encoding="utf-8"))
    verdicts = _VERDICTS.search(done.stdout)
    return {
        "wall_s": wall_s,
        "exit_status": done.returncode,
        "verdicts": None if verdicts is None else verdicts.group(1),
        "arguments": session.list_arguments()[1:],
        **_take_durations(document),
    }


def _name_plugins() -> list[str]:
    """Name the plugins that no installed package announces: code may lie there without one."""
    announced = {one.value for one in entry_points(group="pytest11")}
    wanted = ("sdperf.plugin", "pytest_benchmark.plugin")
    return [part for name in wanted if name not in announced for part in ("-p", name)]


def _take_durations(document: Mapping[str, Any]) -> dict[str, Any]:
    durations = document["sdperf"]["durations"]
    environment = document["benchmarks"][0]["extra_info"]["sdperf"]["environment"]
    return {
        "seconds": durations["seconds"],
        "loads": durations["loads"],
        "reloads": durations["reloads"],
        "environment": environment,
    }


def summarise(name: str, run: Mapping[str, Any]) -> list[str]:
    """Say in words what one session spent. Pure."""
    seconds: Mapping[str, float] = run["seconds"]
    wall_s: float = run["wall_s"]
    rounds_s = sum(seconds.get(one, 0.0) for one in _ROUNDS)
    shown = sorted(seconds.items(), key=lambda item: -item[1])
    shares = [(one, spent_s, 100 * spent_s / wall_s) for one, spent_s in shown]
    return [
        f"{name}: {wall_s:.1f} s, {sum(run['loads'].values())} model loads, "
        f"{100 * (1 - rounds_s / wall_s):.0f} % outside rounds",
        *(f"    {one:<16} {spent_s:8.2f} s {share:5.1f} %" for one, spent_s, share in shares),
    ]


def compare(runs: Mapping[str, Mapping[str, Any]], before: str, after: str) -> Sequence[str]:
    """Say what became of the wall time; nothing where one of the two is missing. Pure."""
    if not {before, after} <= set(runs):
        return []
    ratio = runs[after]["wall_s"] / runs[before]["wall_s"]
    return [f"{after} takes {100 * ratio:.0f} % of the wall time of {before}"]
