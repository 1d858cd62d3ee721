"""Simulate every gate on every machine and write the table.

Run as ``python -m tools.gate_power``; ``--scenario`` redoes single rows of an existing result.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from sdperf.judging.suite_estimate import SuiteEstimate
from tools.gate_power.gates import (
    Answer,
    answer_by_repeats,
    answer_in_run,
    answer_offline,
    estimate_suite,
)
from tools.gate_power.rivals import RIVALS
from tools.gate_power.scenarios import (
    ACCEPTED_SESSIONS,
    CASES,
    ROUNDS,
    SCENARIOS,
    Scenario,
    Suites,
    draw_suites,
)
from tools.gate_power.table import format_table

SLOWDOWNS_PERCENT = (2.5, 5.0, 7.5, 10.0)
OWN_GATES = ("sdperf in-run, paired", "sdperf in-run, fresh processes", "sdperf offline")
BATCH = 50
RIVAL_SUITES = 300


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.gate_power", description=__doc__)
    parser.add_argument("--scenario", action="append", choices=[s.name for s in SCENARIOS])
    parser.add_argument("--unchanged", type=int, default=2000, help="unchanged suites a scenario")
    parser.add_argument("--changed", type=int, default=500, help="suites a slowdown")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    path = options.out / "gate-power.json"
    rows: dict[str, Any] = {}
    if options.scenario and path.exists():
        rows = json.loads(path.read_text())["scenarios"]
    for index, scenario in enumerate(SCENARIOS):
        if options.scenario and scenario.name not in options.scenario:
            continue
        started = time.perf_counter()
        rng = np.random.default_rng([options.seed, index])
        rows[scenario.name] = simulate(scenario, options.unchanged, options.changed, rng)
        print(f"{scenario.name}: {time.perf_counter() - started:.0f} s", flush=True)
    document = {
        "command": (
            f"python -m tools.gate_power --unchanged {options.unchanged} "
            f"--changed {options.changed} --seed {options.seed}"
        ),
        "cases": CASES,
        "rounds": ROUNDS,
        "accepted_sessions": ACCEPTED_SESSIONS,
        "numpy": np.__version__,
        "scenarios": {s.name: rows[s.name] for s in SCENARIOS if s.name in rows},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(format_table(document))


def simulate(
    scenario: Scenario, unchanged: int, changed: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Count red suites, caught slowdowns and open answers of every gate in one scenario."""
    own: dict[str, dict[str, Any]] = {
        gate: {
            "suites": unchanged,
            "red": 0,
            "void": 0,
            "open_cases": 0,
            "suspects": 0,
            "blocks": 0,
        }
        for gate in OWN_GATES
    }
    caught = {gate: dict.fromkeys(SLOWDOWNS_PERCENT, 0) for gate in OWN_GATES}
    left_open = {gate: dict.fromkeys(SLOWDOWNS_PERCENT, 0) for gate in OWN_GATES}
    rivals: dict[str, dict[str, Any]] = {
        name: {"red": 0, "caught": dict.fromkeys(SLOWDOWNS_PERCENT, 0)} for name in RIVALS
    }
    for start in range(0, max(unchanged, changed), BATCH):
        suites = draw_suites(scenario, BATCH, rng)
        medians_s = np.median(suites.rounds_s[:, :-1], axis=-1)
        for suite in range(min(BATCH, unchanged - start)):
            estimate = estimate_suite(medians_s[suite], suites.rounds_s[suite, -1])
            for gate, answer in _answer(estimate, scenario, suites, suite, {}, rng).items():
                own[gate]["red"] += answer.is_red
                own[gate]["void"] += answer.is_void
                own[gate]["open_cases"] += len(answer.open)
                own[gate]["suspects"] += answer.suspects
                own[gate]["blocks"] += answer.blocks
        for suite in range(min(BATCH, changed - start)):
            case = int(rng.integers(CASES))
            for percent in SLOWDOWNS_PERCENT:
                slowdown = math.log1p(percent / 100)
                slowed_s = suites.rounds_s[suite, -1].copy()
                slowed_s[case] *= 1 + percent / 100
                estimate = estimate_suite(medians_s[suite], slowed_s)
                answers = _answer(estimate, scenario, suites, suite, {case: slowdown}, rng)
                for gate, answer in answers.items():
                    caught[gate][percent] += case in answer.slower and not answer.is_void
                    left_open[gate][percent] += case in answer.open or answer.is_void
        if start < RIVAL_SUITES:
            baseline, current = suites.rounds_s[:, -2], suites.rounds_s[:, -1]
            for name, rule in RIVALS.items():
                rivals[name]["red"] += int(rule(baseline, current).any(axis=-1).sum())
                for percent in SLOWDOWNS_PERCENT:
                    slower = rule(baseline, current * (1 + percent / 100))
                    rivals[name]["caught"][percent] += int(slower.sum())
    rival_suites = min(-(-max(unchanged, changed) // BATCH) * BATCH, RIVAL_SUITES)
    return {
        "gates": {
            gate: {
                **own[gate],
                "changed_suites": changed,
                "caught": {str(p): count / changed for p, count in caught[gate].items()},
                "left_open": {str(p): count / changed for p, count in left_open[gate].items()},
                "red_share": own[gate]["red"] / unchanged,
            }
            for gate in OWN_GATES
        },
        "rivals": {
            name: {
                "suites": rival_suites,
                "red": row["red"],
                "red_share": row["red"] / rival_suites,
                "caught": {str(p): n / (rival_suites * CASES) for p, n in row["caught"].items()},
            }
            for name, row in rivals.items()
        },
    }


def _answer(
    estimate: SuiteEstimate,
    scenario: Scenario,
    suites: Suites,
    suite: int,
    slowdowns: dict[int, float],
    rng: np.random.Generator,
) -> dict[str, Answer]:
    in_run, repeats, offline = OWN_GATES
    return {
        in_run: answer_in_run(estimate, scenario, suites, suite, slowdowns, rng),
        repeats: answer_by_repeats(estimate, scenario, suites, suite, slowdowns, rng),
        offline: answer_offline(estimate),
    }


if __name__ == "__main__":
    main()
