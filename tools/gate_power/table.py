"""The result as a Markdown page."""

from __future__ import annotations

import math
from typing import Any


def format_table(document: dict[str, Any]) -> str:
    """Format the stored result; nothing is computed here but shares and their uncertainty."""
    lines = [
        "# How often each gate is wrong",
        "",
        f"Simulated suites of {document['cases']} cases and {document['rounds']} rounds, "
        f"{document['accepted_sessions']} accepted sessions, limit 3 %. Made by",
        "",
        f"    {document['command']}",
        "",
        "*Red* is the share of suites in which nothing was changed that fail anyway (for sdperf",
        "with its 95 % Wilson interval); the columns after it are the share of slowdowns of one",
        "case that are reported. The models are in `tools/gate_power/scenarios.py`; they are",
        "models, not recordings, and their figures hold for machines like these.",
        "`docs/statistics.md` explains the rules and what was tuned.",
        "",
        "| machine | red: paired | red: offline | +5 % caught: paired | +5 % caught: offline "
        "| median:5% red | median:5% catches +5 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_summarise(name, scenario) for name, scenario in document["scenarios"].items()),
    ]
    for name, scenario in document["scenarios"].items():
        sample = next(iter(scenario["gates"].values()))
        percents = list(sample["caught"])
        lines += [
            "",
            f"## {name}",
            "",
            f"| gate | red, unchanged | {' | '.join(f'+{p} %' for p in percents)} |",
            f"| --- | --- | {' | '.join('---' for _ in percents)} |",
        ]
        for gate, row in scenario["gates"].items():
            low, high = compute_wilson_interval(row["red"], row["suites"])
            red = f"**{row['red_share']:.2%}** ({low:.2%} to {high:.2%})"
            lines.append(_format_row(f"**{gate}**", red, row["caught"]))
        for gate, row in scenario["rivals"].items():
            lines.append(_format_row(gate, f"{row['red_share']:.1%}", row["caught"]))
        gates = scenario["gates"]
        lines += ["", _describe_work(*gates.values())]
    return "\n".join(lines) + "\n"


def _summarise(name: str, scenario: dict[str, Any]) -> str:
    paired, _, offline = scenario["gates"].values()
    fixed = scenario["rivals"]["pytest-benchmark median:5%"]
    cells = [
        *(f"{gate['red_share']:.2%}" for gate in (paired, offline)),
        *(f"{gate['caught']['5.0']:.1%}" for gate in (paired, offline)),
        f"{fixed['red_share']:.1%}",
        f"{fixed['caught']['5.0']:.1%}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def compute_wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Compute the 95 % interval of a share. Source: Wilson (1927)."""
    z = 1.96
    share = hits / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = (
        z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    )
    return max(0.0, centre - reach), centre + reach


def _format_row(gate: str, red: str, caught: dict[str, float]) -> str:
    return f"| {gate} | {red} | {' | '.join(f'{share:.1%}' for share in caught.values())} |"


def _describe_work(in_run: dict[str, Any], repeats: dict[str, Any], offline: dict[str, Any]) -> str:
    suites = in_run["suites"]
    blocks = in_run["blocks"] / max(in_run["suspects"], 1)
    return (
        f"Unchanged: {in_run['suspects'] / suites:.2f} suspects a suite, {blocks:.1f} paired "
        f"blocks a suspect, {in_run['void'] / suites:.1%} of suites void by the null control; "
        f"INCONCLUSIVE cases a suite: {in_run['open_cases'] / suites:.1f} paired, "
        f"{repeats['open_cases'] / suites:.1f} fresh processes, "
        f"{offline['open_cases'] / suites:.1f} offline. Of +5 % left INCONCLUSIVE: "
        f"{in_run['left_open']['5.0']:.1%} paired, {repeats['left_open']['5.0']:.1%} fresh "
        f"processes, {offline['left_open']['5.0']:.1%} offline."
    )
