"""The result as a Markdown page."""

from __future__ import annotations

from typing import Any

from evidence.gate_power.table import compute_wilson_interval
from evidence.trend_power.noises import CLAIMED
from sdperf.stats.change_points import FEWEST_RUNS


def format_page(document: dict[str, Any]) -> str:
    """Format the stored result; nothing is computed here but shares and their uncertainty."""
    series, steps, watched = document["series"], document["steps"], document["watched"]
    rivals = document["rival_series"]
    first = next(iter(document["false"].values()))
    lines = [
        "# How often a trend is wrong, and how soon it sees a change",
        "",
        "Simulated series, made by",
        "",
        f"    {document['command']}",
        "",
        "The noises are in `evidence/trend_power/noises.py`; they are models, not recordings.",
        "",
        "## False changes",
        "",
        f"Share of {series} series a cell in which nothing changed (the noise is 2 %) and `sdperf",
        "trend` reports a change of level; in brackets a change of level or a creep since the",
        f"anchor. Nothing is searched below {FEWEST_RUNS} runs. The claim is at most 1 % for all",
        "noises but the last, which shows where it ends.",
        "",
        f"| noise | {' | '.join(f'{count} runs' for count in first)} |",
        f"| --- | {' | '.join('---' for _ in first)} |",
    ]
    worst = (0, "")
    for name, row in document["false"].items():
        cells = [
            f"{cell['changes'] / series:.2%} ({cell['reported'] / series:.2%})"
            for cell in row.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        if name in CLAIMED:
            worst = max(
                worst, *((cell["reported"], f"{name}, {n} runs") for n, cell in row.items())
            )
    low, high = compute_wilson_interval(worst[0], series)
    lines += [
        "",
        f"The worst claimed cell ({worst[1]}) is {worst[0] / series:.2%}, 95 % interval "
        f"{low:.2%} to {high:.2%}.",
        "",
        "Somebody who looks after every run looks often: of "
        + ", of ".join(
            f"{watched} series ({name}) {count / watched:.1%}"
            for name, count in document["watched_growing"].items()
        )
        + " showed a false change at one or more looks while growing from 14 to 100 runs.",
        "",
        "## Delay",
        "",
        f"Runs of the new level until a step of +5 % is seen (median / 90 % of {steps} series; at",
        "most 30 were waited for):",
        "",
        "| runs before the step | noise 1 % | noise 2 % | noise 3 % |",
        "| --- | --- | --- | --- |",
    ]
    for before, row in document["delay"].items():
        cells = [_format_delay(cell) for cell in row.values()]
        lines.append(f"| {before} | {' | '.join(cells)} |")
    lines += [
        "",
        "## Place and size",
        "",
        f"A step of +5 % amid 60 runs, {steps} series: how often it is found, how often the 95 %",
        "set holds its place and the 95 % interval its size, and how often something else is",
        "reported:",
        "",
        "| noise | found | place held | runs in the set | size held | something else |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cv, cell in document["placing"].items():
        found = max(cell["found"], 1)
        lines.append(
            f"| {cv} % | {cell['found'] / steps:.1%} | {cell['placed'] / found:.1%} "
            f"| {cell['median_width']:g} | {cell['sized'] / found:.1%} "
            f"| {cell['extra'] / steps:.1%} |"
        )
    lines += [
        "",
        "## Beside other searches",
        "",
        f"Share of {rivals} series of noise with a false change at 20 / 50 / 100 runs, and the",
        "delay at 2 % noise after 30 runs:",
        "",
        "| search | gaussian | 4 % spikes | heavy tails | delay |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rival, row in document["rivals"].items():
        cells = [
            " / ".join(f"{count / rivals:.1%}" for count in noise.values())
            for noise in row["false"].values()
        ]
        lines.append(f"| {rival} | {' | '.join(cells)} | {_format_delay(row['delay'])} |")
    return "\n".join(lines) + "\n"


def _format_delay(cell: dict[str, Any]) -> str:
    shown = [f"{cell[key]:g}" if cell[key] is not None else "> 30" for key in ("median", "p90")]
    return " / ".join(shown)
