"""The result as a Markdown page."""

from __future__ import annotations

import math
from typing import Any

PAIRED, KEPT = "sdperf in-run, paired", "in-run, processes kept for three blocks"
REPEATS, OFFLINE = "sdperf in-run, fresh processes", "sdperf offline"


def format_table(document: dict[str, Any]) -> str:
    """Format the stored result; nothing is computed here but shares and their uncertainty."""
    lines = [
        "# How often each gate is wrong",
        "",
        f"Suites of {document['cases']} cases and {document['rounds']} rounds, "
        f"{document['accepted_sessions']} accepted sessions, limit 3 %. Made by",
        "",
        f"    {document['command']}",
        "",
        *_name_missing(document.get("not_measured", [])),
        "*Red* is the share of suites in which nothing was changed that fail anyway (for sdperf",
        "with its 95 % Wilson interval); the columns after it are the share of slowdowns of one",
        "case that are reported, *open* the share of unchanged cases left INCONCLUSIVE offline.",
        "Machines are models (`evidence/gate_power/scenarios.py`), and their figures hold for such",
        "machines; `trace:` rows are resampled from recordings (`evidence/gate_power/traces/`).",
        "*Paired* starts new processes for every block, as a run does; *kept* is the same with",
        "processes kept for three blocks. `docs/statistics.md` explains rules and tuning.",
        "",
        "| machine | red: paired | red: kept | red: offline | +5 %: paired | +5 %: offline "
        "| open | median:5% red | median:5%, +5 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
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
        lines += ["", _describe_work(scenario["gates"])]
    return "\n".join(lines) + "\n"


def _name_missing(names: list[str]) -> list[str]:
    if not names:
        return []
    return [
        f"**Unfinished.** Not measured yet: {', '.join(names)}. Suites a machine stand under its",
        "table; the same command goes on from `gate-power.partial.json`.",
        "",
    ]


def _summarise(name: str, scenario: dict[str, Any]) -> str:
    gates = scenario["gates"]
    paired, kept, offline = (gates.get(gate) for gate in (PAIRED, KEPT, OFFLINE))
    fixed = scenario["rivals"]["pytest-benchmark median:5%"]
    unchanged_cases = offline["suites"] * scenario["cases"]
    cells = [
        *("-" if one is None else f"{one['red_share']:.2%}" for one in (paired, kept, offline)),
        *("-" if one is None else f"{one['caught']['5.0']:.1%}" for one in (paired, offline)),
        f"{offline['open_cases'] / unchanged_cases:.1%}",
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


def _describe_work(gates: dict[str, dict[str, Any]]) -> str:
    parts = []
    for gate, row in gates.items():
        said = f"{gate.removeprefix('sdperf ')}: {row['open_cases'] / row['suites']:.1f}"
        said += f" INCONCLUSIVE cases a suite, {row['left_open']['5.0']:.1%} of +5 % left open"
        if row["blocks"]:
            said += f", {row['blocks'] / row['suspects']:.1f} blocks a suspect"
            said += f", {row['void'] / row['suites']:.1%} void"
        parts.append(said)
    sample = next(iter(gates.values()))
    return (
        f"{sample['suites']} unchanged suites, {sample['changed_suites']} a slowdown, "
        f"{sample['suspects'] / sample['suites']:.2f} suspects a suite. " + "; ".join(parts) + "."
    )
