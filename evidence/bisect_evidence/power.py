"""Simulate searches: how often is the right step named, how often a wrong one, in how many blocks?

Run as ``python -m evidence.bisect_evidence.power``. The search, the split of the error, the border
and the test are the shipped functions; only the durations are drawn. Block contrasts are normal
with a share of outliers, and each life of the workers (three blocks) shifts its blocks together.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdperf.ab.turns.blocks import RENEW_EVERY
from sdperf.bisect.judging import LOOKS, MOST_OPEN_STEPS, Target, spend_alpha
from sdperf.bisect.search import Answer, History, make_chain, weigh_answers
from sdperf.judging.latency import DEFAULT_FAMILY_ERROR, DEFAULT_MAX_SLOWDOWN
from sdperf.stats.paired import Decision, PairedResult, decide_by_blocks
from sdperf.store.files import write_atomically

SLOWDOWNS_PERCENT = (0.0, 4.0, 5.0, 7.5, 10.0, 20.0)
STEPS = 16
OUTLIERS = 0.03
OUTLIER_SIZE = 3.0
NAME = "bisect-power"


@dataclass(frozen=True)
class Noise:
    """How much a machine's block contrasts scatter, as standard deviations of log ratios."""

    name: str
    block: float
    life: float


NOISES = (
    Noise("quiet", 0.005, 0.002),
    Noise("typical", 0.01, 0.004),
    Noise("laptop", 0.02, 0.008),
    Noise("shared", 0.03, 0.012),
)

Border = Callable[[Target], float]
LIMIT_LOG = math.log1p(DEFAULT_MAX_SLOWDOWN)
BORDERS: dict[str, Border] = {
    "limit or half (shipped)": lambda target: target.limit_log(DEFAULT_MAX_SLOWDOWN),
    "limit": lambda _: LIMIT_LOG,
    "half": lambda target: target.half,
}


@dataclass(frozen=True)
class Ending:
    """What a simulated search came to."""

    word: str
    blocks: int


def draw_contrasts(true_log: float, noise: Noise, rng: random.Random) -> Iterator[float]:
    """Yield block contrasts of a step."""
    while True:
        life = rng.gauss(0.0, noise.life)
        for _ in range(RENEW_EVERY):
            outlier = 0.0
            if rng.random() < OUTLIERS:
                outlier = rng.choice((-1, 1)) * rng.expovariate(1 / (OUTLIER_SIZE * noise.block))
            yield true_log + life + rng.gauss(0.0, noise.block) + outlier


def measure_step(
    true_log: float, limit_log: float, alpha: float, noise: Noise, rng: random.Random
) -> PairedResult:
    contrasts: list[float] = []
    source = draw_contrasts(true_log, noise, rng)
    while True:
        contrasts.append(next(source))
        result = decide_by_blocks(contrasts, limit_log, alpha=alpha, looks=LOOKS)
        if result.decision is not Decision.CONTINUE:
            return result


def simulate_search(
    history: History,
    culprit: str,
    true_log: float,
    noise: Noise,
    border: Border,
    rng: random.Random,
) -> Ending:
    """Search for a culprit, as `sdperf.bisect.searching.Bisection` does."""
    planned = weigh_answers(history, {}).tests_left
    end = measure_step(
        true_log, LIMIT_LOG, spend_alpha(DEFAULT_FAMILY_ERROR, planned, 0), noise, rng
    )
    blocks = end.blocks
    if end.decision is not Decision.FAIL or end.bounds is None:
        return Ending("nothing" if end.decision is Decision.PASS else "undecided", blocks)
    limit_log = border(Target("case", "speed", end.bounds.mean))
    answers: dict[str, Answer] = {}
    while list(answers.values()).count("open") < MOST_OPEN_STEPS:
        standing = weigh_answers(history, answers)
        if standing.next_step is None:
            break
        alpha = spend_alpha(DEFAULT_FAMILY_ERROR, planned, 1 + len(answers))
        is_bad = history.steps.index(standing.next_step) >= history.steps.index(culprit)
        result = measure_step(true_log if is_bad else 0.0, limit_log, alpha, noise, rng)
        blocks += result.blocks
        words: dict[Decision, Answer] = {Decision.FAIL: "bad", Decision.PASS: "good"}
        answers[standing.next_step] = words.get(result.decision, "open")
    standing = weigh_answers(history, answers)
    if culprit not in standing.suspects or true_log == 0:
        return Ending("wrong", blocks)
    return Ending("found" if standing.first_bad else "range", blocks)


def simulate(searches: int, seed: int) -> list[dict[str, Any]]:
    history = make_chain([str(index) for index in range(STEPS)])
    rows = []
    for noise in NOISES:
        for percent in SLOWDOWNS_PERCENT:
            for name, border in BORDERS.items():
                rng = random.Random(f"{seed} {noise.name} {percent}")
                endings = [
                    simulate_search(
                        history,
                        rng.choice(history.steps),
                        math.log1p(percent / 100),
                        noise,
                        border,
                        rng,
                    )
                    for _ in range(searches)
                ]
                words = Counter(ending.word for ending in endings)
                rows.append(
                    {
                        "noise": noise.name,
                        "slowdown_percent": percent,
                        "border": name,
                        "endings": dict(sorted(words.items())),
                        "blocks": sum(ending.blocks for ending in endings) / searches,
                    }
                )
    return rows


def format_table(document: dict[str, Any]) -> str:
    searches = document["searches"]
    lines = [
        "# How often a search names the right step",
        "",
        f"`{document['command']}`:",
        f"{searches} searches among {STEPS} steps in each row, a loss planted at one of them, "
        "limit 3 %, error 1 % over the",
        "whole search. Percent of the searches; blocks of four executions, mean over all. "
        "`border` is what a step is held to:",
        "the limit, half of the bad end's loss, or the larger of the two.",
        "`nothing` and `undecided` end after the ends were compared. In rows of +0 % "
        "anything named is `wrong`.",
        "",
        "Simulated: it says what the rules do on machines that scatter like this, and nothing of "
        "your machine.",
        "Block contrasts scatter by 0.5 % (quiet), 1 % (typical), 2 % (laptop), 3 % (shared) and "
        "0.4 of that more from one",
        f"life of the workers to the next; {OUTLIERS:.0%} of the blocks are outliers.",
        "",
        "| machine | loss | border | found | range | wrong | nothing | undecided | blocks |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in document["rows"]:
        shares = [
            f"{100 * row['endings'].get(word, 0) / searches:.1f}"
            for word in ("found", "range", "wrong", "nothing", "undecided")
        ]
        lines.append(
            f"| {row['noise']} | +{row['slowdown_percent']:g} % | {row['border']} | "
            f"{' | '.join(shares)} | {row['blocks']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.bisect_evidence.power", description=__doc__
    )
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    document = {
        "command": f"python -m evidence.bisect_evidence.power --searches {options.searches} "
        f"--seed {options.seed}",
        "searches": options.searches,
        "steps": STEPS,
        "looks": LOOKS,
        "rows": simulate(options.searches, options.seed),
    }
    content = json.dumps(document, indent=1) + "\n"
    write_atomically(options.out / f"{NAME}.json", content.encode())
    write_atomically(options.out / f"{NAME}.md", format_table(document).encode())


if __name__ == "__main__":
    main()
