"""The answer to "can I measure here?" as text. Pure: a report in, at most 100 columns out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sdperf.record.environment import Environment
from sdperf.record.guard import Guard, GuardState
from sdperf.report.text.lines import Line, format_ansi
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.units import UNKNOWN, format_bytes, format_seconds

_COLOURS: Final[dict[str, str]] = {
    "ok": "green",
    "warn": "yellow",
    "unknown": "yellow",
    "missing": "yellow",
    "fail": "red",
}
_STATE_WIDTH: Final = 11
_NAME_WIDTH: Final = 23


@dataclass(frozen=True)
class ProbeReport:
    """A probe, and whether this machine has it.

    Attributes:
        name: Its name.
        scope: Whose resources it measures.
        gives: Which numbers it gives.
        reason: Why it is not available; ``None`` where it is.
        hint: How to make it available.
    """

    name: str
    scope: str
    gives: str
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class DoctorReport:
    """Everything the doctor found.

    Attributes:
        environment: The machine and software, for the best available device.
        fingerprint: The fingerprint that a baseline measured here would have.
        native_precisions: 16-bit formats the processor computes in itself.
        checks: Checks of the software that every run needs, or that decides on the device.
        guards: The machine's condition at this moment.
        probes: Sources of resource numbers.
        models: Published models, and whether they fit into this machine's memory.
        took_s: How long the examination took.
    """

    environment: Environment
    fingerprint: str
    native_precisions: tuple[str, ...]
    checks: tuple[Guard, ...]
    guards: tuple[Guard, ...]
    probes: tuple[ProbeReport, ...]
    took_s: float
    models: tuple[Guard, ...] = ()

    def count(self, state: GuardState) -> int:
        """Count the checks and guards in a state."""
        return Counter(guard.state for guard in (*self.checks, *self.guards))[state]


def format_doctor(report: DoctorReport, *, colour: bool = False) -> str:
    """Format the report for a terminal, with ANSI colours if asked for."""
    lines = [
        Line(f"sdperf doctor (took {format_seconds(report.took_s)})", bold=True),
        *_format_machine(report),
        *_format_guards("software", report.checks),
        *_format_guards("guards", report.guards),
        *_format_probes(report.probes),
        *(_format_guards("models", report.models) if report.models else ()),
        Line(""),
        *_format_verdict(report),
    ]
    return "\n".join(format_ansi(line) if colour else line.text for line in lines)


def _format_machine(report: DoctorReport) -> Iterator[Line]:
    found = report.environment
    fast = "" if found.performance_cores is None else f", {found.performance_cores} of them fast"
    native = ", ".join(report.native_precisions) or "none known"
    cores = f"{found.gpu_cores} cores" if found.gpu_cores else "cores unknown"
    packages = (f"{name} {version}" for name, version in found.packages.items())
    power = (found.power_source or "source unknown", f"mode {found.power_mode or 'unknown'}")
    rows = {
        "chip": f"{found.chip} ({found.machine}), {found.cpu_cores or UNKNOWN} cores{fast}",
        "16-bit formats": f"native on the CPU: {native}",
        "device": found.device_kind
        if found.device_kind == "cpu"
        else f"{found.device_kind}: {found.device_name}, {cores}",
        "memory": format_bytes(found.ram_bytes),
        "system": f"{found.os_name} {found.os_version} ({found.os_build or 'build unknown'})",
        "power": ", ".join(power),
        "packages": ", ".join((f"Python {found.python}", *packages)),
        "variables": ", ".join(f"{key}={value}" for key, value in found.variables.items())
        or "none that changes results",
        "commit": found.commit or "none (no git repository with a commit here)",
        "fingerprint": report.fingerprint,
    }
    yield from _format_heading("machine")
    for name, text in rows.items():
        yield from _format_row(f"  {name:<{_STATE_WIDTH + _NAME_WIDTH - 2}}", text)


def _format_guards(title: str, guards: tuple[Guard, ...]) -> Iterator[Line]:
    yield from _format_heading(title)
    for guard in guards:
        text = f"{guard.value}: {guard.sentence}" if guard.value else guard.sentence
        yield from _format_state(guard.state, guard.name, text, guard.hint)


def _format_probes(probes: tuple[ProbeReport, ...]) -> Iterator[Line]:
    yield from _format_heading("probes")
    for probe in probes:
        state = "ok" if probe.reason is None else "missing"
        text = f"{probe.gives} ({probe.scope})"
        yield from _format_state(state, probe.name, text, None)
        if probe.reason is not None:
            yield from _format_row(" " * (_STATE_WIDTH + _NAME_WIDTH), probe.reason)
        if probe.hint is not None:
            yield from _format_row(" " * (_STATE_WIDTH + _NAME_WIDTH), f"do: {probe.hint}")


def _format_verdict(report: DoctorReport) -> Iterator[Line]:
    fails, warns, unknown = (report.count(state) for state in ("fail", "warn", "unknown"))
    if fails:
        yield Line(
            f"not fit to measure: {fails} fail, {warns} warn, {unknown} unknown", "red", True
        )
    elif warns or unknown:
        text = f"fit to measure with care: {warns} warn, {unknown} unknown (never taken for ok)"
        yield Line(text, "yellow", True)
    else:
        yield Line("fit to measure", "green", True)


def _format_heading(title: str) -> Iterator[Line]:
    yield Line("")
    yield Line(title, bold=True)


def _format_state(state: str, name: str, text: str, hint: str | None) -> Iterator[Line]:
    margin = " " * (_STATE_WIDTH + _NAME_WIDTH)
    head = f"  {state:<{_STATE_WIDTH - 2}}{name:<{_NAME_WIDTH}}"
    if len(head) > len(margin) or not head.endswith(" "):  # a long name has a separate line
        yield Line(head.rstrip(), _COLOURS[state])
        head = margin
    yield from _format_row(head, text, _COLOURS[state])
    if hint is not None:
        yield from _format_row(margin, f"do: {hint}")


def _format_row(head: str, text: str, colour: str = "") -> Iterator[Line]:
    """Wrap a row under its own text; words without a space to wrap at are broken."""
    wrapped = wrap_text(text, WIDTH - len(head)) or [""]
    yield Line(f"{head}{wrapped[0]}".rstrip(), colour)
    for rest in wrapped[1:]:
        yield Line(" " * len(head) + rest, colour)
