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
- *base*: the timed cases held against an earlier run of this machine.
- *ab*: the eight pictures of both sides, as `sdperf ab` judges them.
- *L2/L3*: components on equal inputs, and the latents of every step, of the first picture.

| damage | {columns} |
| --- |{rule}
"""

_FOOT = """
A damage of one picture is not to be seen where that picture is not drawn: *latency* draws the first, *batch* the first
four, *L2/L3* the first. One model on one machine: another model's floors are its own, and *base* and *ab* are as
sharp as this only on machines that draw equal bytes for equal code.

## What no picture shows

Planted in the record of a measured case (a hundred rounds, a load and a first call of 1 s), and held against the same
record without it. `tests/plugin/ending/test_start_stories.py` and `tests/plugin/test_soak_stories.py` plant the same in sessions.

| damage | gates that fail |
| --- | --- |
"""

_PURPOSE = """
## What each gate is for

| gate | sees | does not see |
| --- | --- | --- |
| L0 soundness | NaN and infinity, black or flat frames, another size | a wrong picture that looks like one |
| plausibility | answers from memory, stages that launch nothing, rates above the peak | less than half of an image's work kept |
| executed equals asked | steps, size, guidance, precision, scheduler | what changes inside of them |
| SSIM, worst tile | structure: blur, noise, shifts, one damaged place | colour, brightness and contrast of the whole frame |
| PSNR | small differences of level, anywhere | what kind they are |
| CIEDE2000, worst tile | colour and brightness | structure of equal colour |
| entropy | flat frames, loss of detail | pixels that changed places: never alone |
| paired test over eight | a loss on every picture that no single floor shows | one bad picture: that is the floors' |
| exactness (`CHANGED`) | any changed byte, where equal code drew equal bytes until now | whether it is a loss |
| L2 components | which of text encoder, denoiser and VAE differs | what several do together |
| L3 trajectory | from which step on the latents part | what comes after the latents |
| load, first call, tail, growth | what a median of warm rounds hides | what stays below their limits |
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
