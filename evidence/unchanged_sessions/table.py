"""How many unchanged sessions fail, as Markdown. Pure."""
# ruff: noqa: E501  # lines of tables

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMMAND: Final = "python -m evidence.unchanged_sessions"

_HEAD: Final = """\
# Unchanged sessions that fail

Made by `{command}` ({machine}): {real} real sessions of the unchanged embedded model, each in
processes of its own ({options}), and `{count}` sessions drawn from them for each row, judged through
the gate that `sdperf compare` and reports share with pytest. The machine had other work meanwhile.

**Resampled**: which session is judged and which others it is held against (accepted ones); the seconds of
the rounds of each case, drawn with replacement from that session's own; the blocks in which a suspect of
speed is measured again, each four rounds that followed each other in the session.
**Not resampled**: pictures, imprints, scores, fresh requests, loading, the first call, peaks of memory and
memory after each round in its order are those of the real session. So the gates on them were asked {real}
times, and not `{count}` times; suspects of loading, first call and tail are not started again, as pytest would.

| held against | red | of these by gate | had a suspect of speed | CHANGED |
| --- | --- | --- | --- | --- |
"""

_REAL: Final = """
What the real sessions were like, from the least to the most of them. *Fresh* is a request that was never
made over the median of those made again and again: BROKEN above 2, and drawn again above 1.5.

| case | median of a round | load | first call | fresh | different pictures | different imprints |
| --- | --- | --- | --- | --- | --- | --- |
"""


def format_page(results: Mapping[str, Any]) -> str:
    """Lay the results out as a page.

    Args:
        results: As `evidence.unchanged_sessions.__main__` writes them.
    """
    first = next(iter(results["judged"].values()))
    lines = [
        _HEAD.format(
            command=COMMAND,
            machine=results["machine"],
            real=results["real"]["sessions"],
            options=" ".join(f"`{one}`" for one in results["options"]),
            count=first["sessions"],
        ).rstrip()
    ]
    for bases, one in results["judged"].items():
        gates = ", ".join(f"{gate} {count}" for gate, count in sorted(one["by_gate"].items()))
        lines.append(
            f"| {bases} accepted session{'s' if bases != '1' else ''} | {one['red']} of "
            f"{one['sessions']} | {gates or '-'} | {one['with_suspects_of_speed']} | "
            f"{one['changed']} |"
        )
    lines.append(_REAL.rstrip())
    for name, case in results["real"]["cases"].items():
        lines.append(
            f"| {name.rpartition('::')[2]} | {_span(case['median_s'], ' s')} | "
            f"{_span(case['load_s'], ' s')} | {_span(case['first_call_s'], ' s')} | "
            f"{_span(case['fresh_over_known'], '')} | {case['pictures']} | {case['imprints']} |"
        )
    return "\n".join(lines) + "\n"


def _span(values: Mapping[str, float] | None, unit: str) -> str:
    """Spell the least, the middle and the most."""
    if values is None:
        return "-"
    return f"{values['least']:.3g} .. {values['median']:.3g} .. {values['most']:.3g}{unit}"
