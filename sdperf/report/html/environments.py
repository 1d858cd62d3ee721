"""Everything that was recorded of a run's surroundings, side by side with other runs. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdperf.judging.doubts.comparable import list_picture_parts
from sdperf.judging.machine import JudgedMachine, ReportedRun
from sdperf.record.commit import parse_commit_info
from sdperf.report.table import RowStyle, Table
from sdperf.units import UNKNOWN, shorten

MOST_RUNS: Final = 4
"""The most runs that are shown side by side; of more, the latest are shown."""

_LONGEST: Final = 200
_MOMENTARY: Final = frozenset({"measured at", "commit time"})
"""Fields that differ in every run and explain nothing."""


@dataclass(frozen=True)
class EnvironmentTable:
    """The recorded surroundings of several runs, one column per run.

    Attributes:
        differing: Fields whose values differ.
        equal: All other fields.
    """

    differing: Table
    equal: Table


def flatten_environment(run: ReportedRun) -> dict[str, str]:
    """List every recorded field of a run's surroundings with its value in words."""
    fields: dict[str, object] = {}
    document = run.run.document
    raw = document.get("commit_info")
    commit = parse_commit_info(raw)
    fields["commit"] = commit.id
    fields["branch"] = commit.branch
    fields["uncommitted changes"] = commit.is_dirty
    fields["commit time"] = raw.get("time") if isinstance(raw, Mapping) else None
    measured = next(iter(run.measurements.values()), None)
    if measured is not None:
        where = dataclasses.asdict(measured.environment)
        packages, variables = where.pop("packages"), where.pop("variables")
        fields |= {name: value for name, value in where.items() if name != "commit"}
        fields |= {f"package {name}": version for name, version in sorted(packages.items())}
        fields |= {f"variable {name}": value for name, value in sorted(variables.items())}
        asked = dataclasses.asdict(measured.workload)
        del asked["picture"]
        asked |= list_picture_parts(measured.workload.picture)
        fields |= {f"workload {name}": value for name, value in asked.items()}
        fields["subject"] = measured.subject
        fields["model hash"] = measured.model_hash
        fields["CPU threads of a worker"] = measured.worker_threads
    machine = document.get("machine_info")
    for name in ("node", "python_implementation", "python_compiler", "release"):
        fields[f"host {name}"] = machine.get(name) if isinstance(machine, Mapping) else None
    fields["pytest-benchmark"] = document.get("version")
    fields["measured at"] = document.get("datetime")
    return {name: _shown(value) for name, value in fields.items()}


def tabulate_environments(runs: Sequence[ReportedRun]) -> EnvironmentTable:
    """Lay runs side by side, what differs first."""
    shown = runs[-MOST_RUNS:]
    columns = [flatten_environment(run) for run in shown]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, UNKNOWN) for column in columns)) for name in names]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    header = ("field", *(run.name for run in shown))
    table = Table.of(header, differing)
    marks = dict.fromkeys(range(len(differing)), RowStyle(is_marked=True))
    equal = (row for row in rows if len(set(row[1:])) <= 1)
    return EnvironmentTable(dataclasses.replace(table, styles=marks), Table.of(header, equal))


def list_differences(machine: JudgedMachine) -> list[tuple[str, str, str]]:
    """Return (field, before, now) for what differs from the latest base."""
    if not machine.bases:
        return []
    before = flatten_environment(machine.bases[-1])
    now = flatten_environment(machine.head)
    return [
        (name, _shorten(name, before.get(name, UNKNOWN)), _shorten(name, value))
        for name, value in now.items()
        if before.get(name, UNKNOWN) != value and name not in _MOMENTARY
    ]


def _shorten(name: str, value: str) -> str:
    return value[:10] if name in ("commit", "model hash") else value


def _shown(value: Any) -> str:
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return shorten(str(value), _LONGEST)
