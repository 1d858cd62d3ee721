"""Prints the two tables of ``docs/mps-check.md``: the limits, and what the check is blind to."""

from __future__ import annotations

from collections.abc import Iterator

from sdperf.mps_check.limits import Limit, load_limits, load_unseen
from sdperf.report.markdown.words import escape_markdown


def main() -> None:
    print("\n".join(list_limits()))
    print()
    print("\n".join(list_unseen()))


def list_limits() -> Iterator[str]:
    yield "| limit | what happens | torch | macOS, chips | stage | sources |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for limit in load_limits():
        where = ", ".join(part for part in (str(limit.macos), limit.chips) if part)
        cells = (
            f"`{limit.id}`",
            escape_markdown(f"{limit.effect}: {limit.title}{_doubt(limit)}"),
            _in_order(str(limit.torch)),
            where,
            ", ".join(limit.stages),
            ", ".join(limit.sources),
        )
        yield f"| {' | '.join(cells)} |"


def list_unseen() -> Iterator[str]:
    yield "| trap | what happens | why it is not seen here | sources |"
    yield "| --- | --- | --- | --- |"
    for trap in load_unseen():
        cells = (
            f"`{trap.id}`",
            escape_markdown(trap.case),
            escape_markdown(trap.why),
            ", ".join(trap.sources),
        )
        yield f"| {' | '.join(cells)} |"


def _doubt(limit: Limit) -> str:
    return " (suspected)" if limit.certainty == "suspected" else ""


def _in_order(specifiers: str) -> str:
    """A set of specifiers has no order of its own; a lower bound reads better first."""
    return ", ".join(sorted(specifiers.split(","), reverse=True))


if __name__ == "__main__":
    main()
