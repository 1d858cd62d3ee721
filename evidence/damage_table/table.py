"""The damage page as Markdown. Pure."""
# ruff: noqa: E501  # lines of tables

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evidence.damage_table.sessions import COLUMNS

COMMAND = "python -m evidence.damage_table"

_HEAD = """\
# Which gate catches which damage

`{command}` made this page from real sessions of the embedded model (`docs/results/damage.json`, {machine}):
each damage was planted in the pipeline by a subject, and every gate judged what came of it. `x`: the run fails. `e`: it fails too, since the question cannot be asked of such a pipeline; the error does not name the damage. `c`: the
gate says `CHANGED`, which fails with `--sd-exact` or `--sd-strict` (`sdperf ab --strict`). `-`: it passes.

- *latency*, *batch*: one picture, and four, by the floors of the references that ship.
- *L4*: the quality suite's eight pictures, each by its floors and all together by the paired test.
- *base*: the timed cases compared with an earlier run of this machine: pictures, what passed between the components (imprints), and what was executed.
- *ab*: the engine of `sdperf ab` from end to end (eight pictures a side, a block of rounds, fresh requests), its workers in one process.
- *L2/L3*: components on equal inputs, and the latents of every step, of the eight pictures beside the plain pipeline's.

| damage | {columns} |
| --- |{rule}
"""

_FOOT = """
A damage of one picture is not to be seen where that picture is not drawn: *latency* draws the first, *batch* and *base* the
first four. A denoiser that remembers draws the right picture, so that no gate on pictures sees it (*L4*, *L2/L3*). One
model on one machine: another model's floors are its own, and *base* and *ab* are as sharp as this only on machines that
draw equal bytes for equal code.

## What no picture shows

Planted in the record of a measured case (a hundred rounds, a load and a first call of 1 s), and compared with the same
record without it. `tests/plugin/ending/test_start_stories.py` and `tests/plugin/test_soak_stories.py` plant the same in sessions.

| damage | gates that fail |
| --- | --- |
"""

_PURPOSE = """
What each gate is for, what it sees and what it cannot: [the image gates](image-gates.md#what-each-gate-is-for).
"""


def format_page(results: Mapping[str, Any]) -> str:
    """Lay the results out as a page.

    Args:
        results: As `evidence.damage_table.__main__` writes them.
    """
    lines = [
        _HEAD.format(
            command=COMMAND,
            machine=results["machine"],
            columns=" | ".join(COLUMNS),
            rule=" --- |" * len(COLUMNS),
        ).rstrip()
    ]
    for name, marks in results["pictures"].items():
        lines.append(f"| {name} | {' | '.join(marks[column] for column in COLUMNS)} |")
    lines.append(_FOOT.rstrip())
    for name, gates in results["records"].items():
        lines.append(f"| {name} | {', '.join(gates) or '-'} |")
    return "\n".join([*lines, _PURPOSE])
