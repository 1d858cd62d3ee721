"""A series of independent runs: kept run by run, counted, and laid out. Pure but for the file."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evidence.ab_evidence.subjects import EVERY_CALLS, EXTRA_PERCENT
from sdperf.ab.verdict.comparison import AbComparison
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.errors import RecordError
from sdperf.record.json import format_record, parse_record
from sdperf.store.files import write_atomically
from sdperf.units import format_seconds


@dataclass(frozen=True)
class Run:
    """What one comparison came to.

    Attributes:
        created: Its start, UTC.
        outcome: Its verdict: ``PASS``, ``SLOWER``, ``INCONCLUSIVE``, ... or ``VOID``.
        line: Its line.
        blocks: Blocks that counted.
        discarded: Blocks that did not.
        ratio: Seconds of B over A; ``None`` where nothing was timed.
        lower: Lower end of the interval.
        upper: Upper end.
        control_ratio: A over A in the null control.
        a_s: Median execution of A, seconds.
        denoise_share: Share of an image that is denoising, in A's profiled rounds.
        b_first: Whether B began.
        load: The load guard before it, in words; ``None`` where unknown.
        duration_s: How long it all took.
    """

    created: str
    outcome: str
    line: str
    blocks: int
    discarded: int
    ratio: float | None
    lower: float | None
    upper: float | None
    control_ratio: float | None
    a_s: float | None
    denoise_share: float | None
    b_first: bool
    load: str | None
    duration_s: float


@dataclass(frozen=True)
class Series:
    """Runs of one experiment on one machine.

    Attributes:
        experiment: ``aa`` or ``slower``.
        command: What makes it.
        steps: Denoising steps.
        machine: Chip and cores.
        packages: Versions that matter.
        max_slowdown: The limit.
        runs: In order.
    """

    experiment: str
    command: str
    steps: int
    machine: str
    packages: Mapping[str, str]
    max_slowdown: float
    runs: tuple[Run, ...] = field(default=())


def summarise_run(record: AbComparison) -> Run:
    """Keep of a comparison what the series needs."""
    verdict = judge_comparison(record)
    case = record.cases[0]
    judged = verdict.cases[0]
    bounds = judged.bounds
    guards = {guard.name: guard for guard in record.guards}
    a_s = [
        one.duration_s
        for block in case.blocks
        for one in block.executions
        if one.side == "A" and block.discarded is None
    ]
    shares = [
        pair.a.denoise_s / pair.a.total_s for pair in case.profiles if pair.a.denoise_s is not None
    ]
    return Run(
        created=record.created,
        outcome="VOID" if verdict.void is not None else verdict.outcome.value,
        line=judged.line,
        blocks=len(case.contrasts),
        discarded=sum(block.discarded is not None for block in case.blocks),
        ratio=None if bounds is None else math.exp(bounds.mean),
        lower=None if bounds is None else math.exp(bounds.lower),
        upper=None if bounds is None else math.exp(bounds.upper),
        control_ratio=None if verdict.control is None else math.exp(verdict.control),
        a_s=statistics.median(a_s) if a_s else None,
        denoise_share=statistics.median(shares) if shares else None,
        b_first=record.b_first,
        load=guards["load"].value if "load" in guards else None,
        duration_s=record.duration_s,
    )


def read_series(path: Path) -> dict[str, Series]:
    """Read the experiments of a file; none where there is no file.

    Raises:
        RecordError: It is damaged.
    """
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(f"{path} is no JSON", got=str(error)) from error
    return {name: parse_record(Series, one) for name, one in document.items()}


def write_series(path: Path, series: Mapping[str, Series]) -> None:
    """Write all experiments, whole or not at all."""
    document = {name: format_record(one) for name, one in sorted(series.items())}
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())


def format_series(series: Mapping[str, Series]) -> str:
    """Lay the experiments out as Markdown: counts first, then every run."""
    return "\n".join(_format_all(series)) + "\n"


def _format_all(series: Mapping[str, Series]) -> Iterator[str]:
    yield "# How often `sdperf ab` is wrong, and what it finds"
    for name in ("aa", "slower"):
        if name in series:
            yield ""
            yield from _format_one(series[name])


_TITLES = {
    "aa": "The same code on both sides",
    "slower": f"One more call in {EVERY_CALLS} of the UNet on side B, {EXTRA_PERCENT:.1f} % more",
}


def _format_one(series: Series) -> Iterator[str]:
    runs = series.runs
    yield f"## {_TITLES[series.experiment]}"
    yield ""
    yield f"`{series.command}`: {series.machine}, " + ", ".join(
        f"{name} {version}" for name, version in series.packages.items()
    )
    yield ""
    yield f"{summarise(series)}"
    yield ""
    yield "| run | verdict | blocks | discarded | time of B over A | interval | A over A | took |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for number, run in enumerate(runs, 1):
        interval = f"{_percent(run.lower)} to {_percent(run.upper)}"
        yield (
            f"| {number} | {run.outcome} | {run.blocks} | {run.discarded} | {_percent(run.ratio)} "
            f"| {interval} | {_percent(run.control_ratio)} | {format_seconds(run.duration_s)} |"
        )


def summarise(series: Series) -> str:
    """Count what a series came to, in a sentence or two."""
    runs = series.runs
    counts = {name: sum(run.outcome == name for run in runs) for name in _names(runs)}
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    text = f"{count} of {series.steps} steps: {told}. {_describe_blocks(runs)}"
    if series.experiment == "aa":
        excluding = sum(
            run.lower is not None and run.upper is not None and not run.lower <= 1 <= run.upper
            for run in runs
        )
        return f"{text} In {excluding} of them the interval leaves out no difference."
    shares = [run.denoise_share for run in runs if run.denoise_share is not None]
    if not shares:
        return text
    share = statistics.median(shares)
    return (
        f"{text} Denoising is {share * 100:.1f} % of an image, so that {EXTRA_PERCENT:.1f} % more "
        f"calls of the UNet are at most {EXTRA_PERCENT * share:.1f} % more time."
    )


def _names(runs: Sequence[Run]) -> list[str]:
    return sorted({run.outcome for run in runs})


def _describe_blocks(runs: Sequence[Run]) -> str:
    blocks = [run.blocks for run in runs if run.blocks]
    if not blocks:
        return ""
    each = ", ".join(
        f"{count} in {blocks.count(count)} run{'' if blocks.count(count) == 1 else 's'}"
        for count in sorted(set(blocks))
    )
    return f"Blocks it took: {each}."


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{(ratio - 1) * 100:+.1f} %"
