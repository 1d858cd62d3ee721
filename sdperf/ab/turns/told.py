"""What a side's program is told of what was asked for, and what it cannot be told. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sdperf.ab.sides.sides import Side, SideName
from sdperf.record.workload import ProgramFacts, Workload
from sdperf.run.program.asked import list_untold
from sdperf.run.program.sampling import leave_to_program


def tell_workload(side: Side, program: ProgramFacts | None) -> Workload:
    """Return a side's workload without what nobody asked for and its program cannot be told."""
    return leave_to_program(side.workload, program, side.left_open)


def list_side_notes(
    sides: Mapping[SideName, Side], programs: Mapping[SideName, ProgramFacts | None]
) -> list[str]:
    """Say what was asked for and a side's program cannot be told.

    Args:
        sides: The sides.
        programs: What each side's program says of itself, as far as it is known.
    """
    notes = []
    for name, side in sides.items():
        program = programs.get(name)
        if program is not None:
            precision = side.variant_changes.get("precision")
            found = list_untold(program, tell_workload(side, program), precision)
            notes += [f"{name}: without effect: {told}" for told in found]
    return notes
