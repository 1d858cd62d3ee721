"""``sdperf calibrate``: how often is the gate wrong on this machine, and what would it catch?"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sdperf.cli.runs.baseline import describe_controls
from sdperf.cli.shared.options import add_option, add_setting
from sdperf.errors import ConfigurationError
from sdperf.judging.machine_noise import (
    FEWEST_TO_CALIBRATE,
    MachineNoise,
    compute_machine_noise,
)
from sdperf.outputs import check_result
from sdperf.record.json import format_record
from sdperf.report.text.machine_noise import format_machine_noise
from sdperf.settings import MAX_SLOWDOWN, PRECISION, kinds
from sdperf.shell import join_command
from sdperf.store.baselines import DEFAULT_FOLDER, BaselineStore
from sdperf.store.calibration import (
    DEFAULT_CALIBRATION,
    CalibratedCase,
    Calibration,
    write_calibration,
)
from sdperf.store.runs import SavedRun, read_run
from sdperf.units import format_quantity, format_seconds

_EPILOG: Final = f"""\
Runs pytest again and again on unchanged code and compares each session with the others. Each run is
a fresh process, so this takes as long as so many runs. Sessions of different days say more than
sessions in a row: calibrate from saved ones with --from.

What was found is read by every run that compares on this kind of machine: a limit of the command
line or of a marker that a case cannot support is refused there, and what passes any other limit
that it cannot support is INCONCLUSIVE. Commit the evidence of machines that several people share.

exit status: 0 the machine supports the limit, 1 it does not, 2 it cannot be told

examples:
  sdperf calibrate
  sdperf calibrate --sessions 20 -- benchmarks -k latency {PRECISION} fp32
  sdperf calibrate --from monday.json tuesday.json ... --max-slowdown 5%
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "calibrate",
        help="measure this machine's own false-alarm rate and smallest regression caught",
        description="Measure unchanged code and tell what the gate is worth on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sessions = kinds.whole(least=FEWEST_TO_CALIBRATE)
    add_option(parser, "--sessions", sessions, "sessions to measure", default=8)
    parser.add_argument(
        "--from",
        dest="saved",
        nargs="+",
        type=Path,
        metavar="RUN.json",
        help="saved sessions of unchanged code, instead of measuring",
    )
    add_setting(parser, MAX_SLOWDOWN.taking(kinds.SHARE, "the limit to try"), default=0.03)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(DEFAULT_CALIBRATION),
        metavar="DIR",
        help=f"where the evidence goes ({DEFAULT_CALIBRATION})",
    )
    parser.add_argument("arguments", nargs="*", metavar="PYTEST", help="arguments of pytest")


def run(arguments: argparse.Namespace) -> int:
    """Measure or read the sessions, print what they show, and keep the evidence."""
    max_slowdown = arguments.max_slowdown
    out: Path = arguments.out
    pytest_arguments = arguments.arguments or ["benchmarks"]
    undone = f"nothing was {'measured' if arguments.saved is None else 'written'}"
    check_result("--out", out, is_folder=True, undone=undone)
    if arguments.saved is not None:
        paths = arguments.saved
        command = ["sdperf", "calibrate", "--from", *(path.name for path in paths)]
    else:
        paths = _measure(arguments.sessions, pytest_arguments, out)
        command = ["sdperf", "calibrate", "--sessions", str(len(paths)), "--", *pytest_arguments]
    sessions = [read_run(path, needs_rounds=True) for path in paths]
    fingerprint = _find_fingerprint(sessions)
    try:
        noise = compute_machine_noise(
            [{name: case.rounds_s for name, case in one.cases.items()} for one in sessions],
            max_slowdown,
        )
    except ValueError as error:
        raise ConfigurationError(
            "these sessions cannot be calibrated by",
            got=str(error),
            expected=f"{FEWEST_TO_CALIBRATE} or more sessions of the same cases",
        ) from error
    found = _describe(sessions, noise, fingerprint, join_command(command))
    try:
        evidence = write_calibration(out, found, format_record(noise))
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be written", got=error.strerror) from error
    print("\n".join(format_machine_noise(noise, fingerprint)))
    print("\n".join(describe_controls(BaselineStore(Path(DEFAULT_FOLDER)), fingerprint)))
    print(f"evidence: {evidence}")
    return 0 if noise.supports_limit else 1


def _describe(
    sessions: Sequence[SavedRun], noise: MachineNoise, fingerprint: str, command: str
) -> Calibration:
    """Make the calibration that runs on this kind of machine read."""
    names = tuple(noise.widths)
    last = {name: sessions[-1].cases[name].measurement for name in names}
    return Calibration(
        fingerprint=fingerprint,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        max_slowdown=noise.max_slowdown,
        supports_limit=noise.supports_limit,
        calibrated={
            name: CalibratedCase(
                noise.widths[name],
                None if one is None else one.workload,
                None if one is None else one.images_per_round,
            )
            for name, one in last.items()
        },
        cases=names,
        sessions=tuple(
            tuple(tuple(session.cases[name].rounds_s) for name in names) for session in sessions
        ),
    )


def _measure(sessions: int, arguments: Sequence[str], out: Path) -> list[Path]:
    """Run pytest several times, and write each session to a separate file."""
    folder = (out / "sessions").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    started_s = time.monotonic()
    for number in range(1, sessions + 1):
        path = folder / f"session-{number:02}.json"
        path.unlink(missing_ok=True)
        spent_s = time.monotonic() - started_s
        left_s = spent_s / (number - 1) * (sessions - number + 1) if number > 1 else None
        about = "" if left_s is None else f", about {format_seconds(left_s)} left"
        print(f"session {number} of {sessions}{about} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "pytest", "-q", *arguments, f"--benchmark-json={path}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except KeyboardInterrupt:
            if len(paths) < FEWEST_TO_CALIBRATE:
                raise
            judged = format_quantity(len(paths), "session")
            print(f"interrupted: judging by {judged}", file=sys.stderr)
            break
        if done.returncode or not path.exists():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise ConfigurationError(
                f"session {number} failed, exit status {done.returncode}",
                got=" / ".join(said)[:400],
                hint=join_command(["pytest", *arguments]),
            )
        paths.append(path)
    return paths


def _find_fingerprint(sessions: Sequence[SavedRun]) -> str:
    """Return the kind of machine of all sessions, which has to be the same."""
    found = {
        case.measurement.environment.fingerprint() if case.measurement else one.machine or "unknown"
        for one in sessions
        for case in one.cases.values()
    }
    if len(found) != 1:
        raise ConfigurationError(
            "these sessions are not of one machine",
            got=", ".join(sorted(found))[:300] or "no cases",
            expected="one",
        )
    return found.pop()
