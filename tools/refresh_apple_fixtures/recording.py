"""A system that remembers what it was asked, and one that answers from what was remembered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sdperf.cli.machine.doctor import collect_report
from sdperf.errors import RecordError
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.system import Stream, System
from sdperf.report.text.doctor import DoctorReport
from sdperf.store.contribution.anonymity import Identity
from sdperf.store.files import write_atomically
from tools.refresh_apple_fixtures.scrubbing import find_leftovers, scrub, scrub_processes

MANIFEST: Final = "manifest.json"
VERSION: Final = 1
_PS: Final = "/bin/ps"
_PRIVATE_PROGRAMS: Final = ("/git", "/xcode-select")
_EXPECTED: Final[Mapping[str, Callable[[DoctorReport], bool]]] = {
    "the chip's name": lambda report: report.environment.chip.startswith("Apple"),
    "memory": lambda report: bool(report.environment.ram_bytes),
    "fast cores": lambda report: bool(report.environment.performance_cores),
    "version of macOS": lambda report: report.environment.os_version != "unknown",
    "power source": lambda report: report.environment.power_source is not None,
    "thermal level": lambda report: report.environment.thermal_level is not None,
    "memory pressure": lambda report: _is_known(report, "memory pressure"),
    "swap": lambda report: _is_known(report, "swap"),
    "load": lambda report: _is_known(report, "load"),
    "virtual machine": lambda report: _is_known(report, "virtual machine"),
    "background work": lambda report: _is_known(report, "background work"),
}
"""What the parsers have to find in the output of any Mac, virtual ones included."""


@dataclass(frozen=True)
class Answer:
    """One command and what it printed; ``None`` where it failed."""

    command: tuple[str, ...]
    output: str | None
    seconds: float


@dataclass
class RecordingSystem:
    """A system that passes everything on and keeps what programs printed."""

    inner: System
    clock: Clock = monotonic_clock
    answers: list[Answer] = field(default_factory=list)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def run(self, program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:
        start_s = self.clock()
        output = self.inner.run(program, *arguments, timeout_s=timeout_s)
        self.answers.append(Answer((program, *arguments), output, self.clock() - start_s))
        return output


@dataclass(frozen=True)
class ReplayedSystem:
    """A Mac that is not here: it answers what was recorded, and nothing else."""

    answers: Mapping[str, str]
    machine: str = "arm64"
    platform: str = "darwin"
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, program: str, *arguments: str, timeout_s: float = 2.0) -> str | None:  # noqa: ARG002
        return self.answers.get(name_command((program, *arguments)))

    def start(self, program: str, *arguments: str) -> Stream | None:  # noqa: ARG002
        return None

    def read_text(self, path: str) -> str | None:  # noqa: ARG002
        return None

    def list_names(self, path: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def find_program(self, name: str) -> str | None:  # noqa: ARG002
        return None

    def package_version(self, name: str) -> str | None:  # noqa: ARG002
        return None

    def read_niceness(self) -> int | None:
        return 0

    def is_background(self) -> bool | None:
        return False


def collect(system: System, folder: Path, identity: Identity) -> list[str]:
    """Let the doctor look at a Mac, and write what programs told it, scrubbed.

    Returns:
        Names of the files.

    Raises:
        RecordError: The folder is not empty, or something that could name somebody is left.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RecordError(f"{folder} is not empty", hint="--out a new folder")
    recording = RecordingSystem(system)
    collect_report(recording)  # type: ignore[arg-type]
    files: dict[str, str] = {}
    entries = []
    for answer in _first_of_each(recording.answers):
        name = name_command(answer.command)
        file = None
        if answer.output is not None:
            file = f"{len(entries):02d}-{slugify(name)}.txt"
            clean = scrub_processes(answer.output) if answer.command[0] == _PS else answer.output
            files[file] = scrub(clean, identity)
        entries.append({"command": name, "file": file, "seconds": round(answer.seconds, 4)})
    left = find_leftovers(files, identity)
    if left:
        raise RecordError("something that could name somebody is left", got="; ".join(left))
    manifest = {"version": VERSION, "machine": system.machine, "commands": entries}
    for name, text in (files | {MANIFEST: json.dumps(manifest, indent=1) + "\n"}).items():
        write_atomically(folder / name, text.encode())
    return [*files, MANIFEST]


def load_recorded(folder: Path) -> ReplayedSystem:
    """Read a recording.

    Raises:
        RecordError: It is no recording, or a file of it is missing.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        answers = {
            entry["command"]: (folder / Path(entry["file"]).name).read_text(encoding="utf-8")
            for entry in manifest["commands"]
            if entry["file"] is not None
        }
        return ReplayedSystem(answers, machine=str(manifest["machine"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{folder} is no recording", got=repr(error)[:120]) from error


def check(folder: Path) -> list[str]:
    """Replay a recording through sdperf's parsers and say what they did not understand."""
    report = collect_report(load_recorded(folder))
    return [what for what, holds in _EXPECTED.items() if not holds(report)]


def name_command(command: tuple[str, ...]) -> str:
    """Name a command; a process's own number is no part of the name."""
    return re.sub(r"(?<= -p )\d+", "PID", " ".join(command))


def slugify(command: str) -> str:
    """Name a command's file by the program and what is asked of it."""
    words = re.findall(r"[\w.]+", command.replace("/usr/sbin/", "").replace("/usr/bin/", ""))
    return "-".join(words)[:60].lower()


def _first_of_each(answers: list[Answer]) -> Iterator[Answer]:
    seen = set()
    for answer in answers:
        name = name_command(answer.command)
        if name not in seen and not answer.command[0].endswith(_PRIVATE_PROGRAMS):
            seen.add(name)
            yield answer


def _is_known(report: DoctorReport, name: str) -> bool:
    return any(guard.name == name and guard.state != "unknown" for guard in report.guards)
