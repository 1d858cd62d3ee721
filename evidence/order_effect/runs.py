"""One run of pytest in an order, and the runs that were kept; a run that was cut off is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from evidence.order_effect.ordering import ORDER_VARIABLE

ALONE: Final = "alone"


@dataclass(frozen=True)
class CaseRun:
    """One case of one run.

    Attributes:
        case: Its test id.
        position: Its place in the run, from 0.
        rounds_s: Seconds of its timed rounds.
        images_per_round: Images in each.
        cores_busy: Processor seconds a second of its workers; ``None`` is unknown.
    """

    case: str
    position: int
    rounds_s: tuple[float, ...]
    images_per_round: int
    cores_busy: float | None


@dataclass(frozen=True)
class Run:
    """One run of pytest.

    Attributes:
        turn: Which turn it belongs to, from 0.
        order: ``default``, ``reversed``, ``shuffled`` or ``alone``.
        only: The one case of a run of ``alone``; ``None`` is all.
        took_s: Seconds of the whole run.
        status: Exit status of pytest.
        environment: Chip, device and versions.
        cases: What was measured.
    """

    turn: int
    order: str
    only: str | None
    took_s: float
    status: int
    environment: dict[str, Any]
    cases: tuple[CaseRun, ...]

    @property
    def key(self) -> tuple[int, str, str | None]:
        """What tells it apart."""
        return self.turn, self.order, self.only


def read_runs(path: Path) -> list[Run]:
    """Read the runs that were kept, a line each; a last line that was cut off is left out."""
    if not path.exists():
        return []
    runs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue
        cases = tuple(
            CaseRun(**{**case, "rounds_s": tuple(case["rounds_s"])}) for case in fields["cases"]
        )
        runs.append(Run(**{**fields, "cases": cases}))
    return runs


def keep_run(path: Path, run: Run) -> None:
    """Add a run to those that were kept, and see it onto the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run), separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())


def run_pytest(
    turn: int, order: str, only: str | None, arguments: Sequence[str], limit_s: float | None
) -> Run | None:
    """Run pytest once.

    Args:
        turn: Which turn it belongs to; seeds a shuffled order.
        order: ``default``, ``reversed``, ``shuffled`` or ``alone``.
        only: The case of a run of ``alone``.
        arguments: What pytest is given beside.
        limit_s: Seconds after which it is ended; ``None`` is never.

    Returns:
        The run; ``None`` where it was ended, or left no figures.
    """
    with tempfile.TemporaryDirectory(prefix="order-effect-") as folder:
        path = Path(folder) / "run.json"
        command = [sys.executable, "-m", "pytest", "-p", "evidence.order_effect.ordering"]
        # A test id holds the file, so that the folders and -k of the others are not wanted.
        command += [only, *drop_selection(arguments)] if only is not None else [*arguments]
        command += [f"--benchmark-json={path}", "--sd-history=off", "-p", "no:cacheprovider"]
        words = {"shuffled": f"shuffled:{turn}", ALONE: "default"}.get(order, order)
        environment = {**os.environ, ORDER_VARIABLE: words}
        start_s = time.perf_counter()
        try:
            done = subprocess.run(
                command, env=environment, timeout=limit_s, check=False, capture_output=True
            )
        except subprocess.TimeoutExpired:
            return None
        took_s = time.perf_counter() - start_s
        if not path.exists():
            sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
            sys.stderr.write(done.stderr.decode(errors="replace")[-2000:])
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
    return make_run(document, turn, order, only, took_s, done.returncode)


def make_run(
    document: dict[str, Any], turn: int, order: str, only: str | None, took_s: float, status: int
) -> Run | None:
    """Take out of pytest-benchmark's JSON what is kept; ``None`` where it holds no case."""
    records = [
        (one["fullname"], one["extra_info"]["sdperf"])
        for one in document["benchmarks"]
        if "sdperf" in one.get("extra_info", {})
    ]
    if not records:
        return None
    where = records[0][1]["environment"]
    kept = ("chip", "device_kind", "device_name", "cpu_cores", "python", "commit")
    return Run(
        turn=turn,
        order=order,
        only=only,
        took_s=round(took_s, 3),
        status=status,
        environment={name: where.get(name) for name in kept}
        | {"torch": where["packages"].get("torch")},
        cases=tuple(
            CaseRun(
                case=name,
                position=position,
                rounds_s=tuple(round(one, 7) for one in record["rounds_s"]),
                images_per_round=record["images_per_round"],
                cores_busy=_round(record.get("cores_busy")),
            )
            for position, (name, record) in enumerate(records)
        ),
    )


def drop_selection(arguments: Sequence[str]) -> list[str]:
    """Drop folders, files and ``-k`` from pytest's arguments: a test id takes their place."""
    kept: list[str] = []
    rest = iter(arguments)
    for one in rest:
        if one in ("-k", "-m"):
            next(rest, None)
        elif one.startswith("-") or not Path(one.partition("::")[0]).exists():
            kept.append(one)
    return kept


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
