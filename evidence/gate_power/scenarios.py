"""Machines to be judged on: how the durations of a suite vary when nothing was changed.

All effects are in log seconds unless a name says otherwise, so 0.01 is 1 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sdperf.ab.confirming import RENEW_EVERY_BLOCK

CASES = 60
ROUNDS = 10
ACCEPTED_SESSIONS = 8


@dataclass(frozen=True)
class Scenario:
    """One kind of machine.

    ``quiet``, ``typical`` and ``laptop`` were fixed by the published figures of an earlier study
    (``python -m evidence.gate_power.anchors`` holds them against it): rounds vary by 0.8 % with 4 %
    spikes to the right, sessions differ by 1.5 and 4 %. What it did not publish follows from its
    results: the size of spikes and the spread of ``quiet`` from the alarms of the single-case
    rules, the part of the spread that belongs to single cases from how many cases its screen
    flagged. How much cases differ in their spread (0.3) is a guess that nothing there pins down.

    Attributes:
        mood: Spread between sessions that all cases share.
        case_spread: Typical spread between sessions of one case alone; half its variance belongs to
            the day, half to the process.
        spread_variation: How much cases differ in their spread (sigma of its log).
        round_noise: Spread between rounds of one process.
        spike_rate: Share of rounds that are hit by a spike.
        spike_mean: Mean of the (exponential) spike.
        heat: Rise over a session as the machine warms up.
        wander: Spread of a slow wander of the clock within a session.
        throttle_on: Chance per round that throttling (+25 %) sets in.
        throttle_off: Chance per round that it ends.
        modal_cases: Cases that run 1.3 to 3 times slower in 40 % of fresh processes.
        stall_rate: Share of rounds hit by a stall of 2 to 8 s.
        common_drift: Drift of the machine per session.
        case_drift: Spread of the drift per session of single cases.
        tail_df: Degrees of freedom of the case spread's Student distribution; 0 is normal.
    """

    name: str
    mood: float
    case_spread: float
    spread_variation: float = 0.3
    round_noise: float = 0.008
    spike_rate: float = 0.04
    spike_mean: float = 0.08
    heat: float = 0.0
    wander: float = 0.0
    throttle_on: float = 0.0
    throttle_off: float = 1.0
    modal_cases: int = 0
    stall_rate: float = 0.0
    common_drift: float = 0.0
    case_drift: float = 0.0
    tail_df: int = 0


TYPICAL = Scenario("typical", mood=0.0132, case_spread=0.0065, heat=0.02)

SCENARIOS = (
    Scenario("quiet", mood=0.0039, case_spread=0.002),
    TYPICAL,
    Scenario("laptop", mood=0.0352, case_spread=0.0173, heat=0.06, wander=0.01),
    replace(TYPICAL, name="drift", common_drift=0.003, case_drift=0.0015, heat=0.03),
    replace(TYPICAL, name="spikes", spike_rate=0.15, spike_mean=0.3),
    replace(TYPICAL, name="throttle toggles", throttle_on=0.02, throttle_off=0.06),
    replace(TYPICAL, name="bimodal kernels", modal_cases=20),
    replace(TYPICAL, name="multi-second stalls", stall_rate=0.02),
    replace(TYPICAL, name="uneven cases", spread_variation=0.6),
    replace(TYPICAL, name="heavy tails", tail_df=4),
    replace(TYPICAL, name="rare throttling", throttle_on=0.0003, throttle_off=0.03),
)
"""From ``drift`` on, each is ``typical`` with one disturbance added. The last three are there to
show what the offline rule cannot do: pool spreads that have little in common, know tails that eight
sessions do not show, and foresee what strikes less than once in them.
"""

THROTTLED = math.log(1.25)
SLOW_SHARE = 0.4


@dataclass(frozen=True)
class Suites:
    """Many suites of one scenario: their durations, and what is needed to measure a case again.

    Attributes:
        rounds_s: ``(S, K + 1, C, R)`` seconds; the last session is the current one, unchanged.
        base_log: ``(S, C)`` true log seconds.
        spread: ``(S, C)`` each case's spread between sessions.
        day_log: ``(S, C)`` what the current day does to a case, in every process of that day.
        mode_log: ``(S, C)`` what the slow kernel costs; 0 where there is one kernel.
    """

    rounds_s: NDArray[np.float64]
    base_log: NDArray[np.float64]
    spread: NDArray[np.float64]
    day_log: NDArray[np.float64]
    mode_log: NDArray[np.float64]


def draw_suites(scenario: Scenario, suites: int, rng: np.random.Generator) -> Suites:
    """Draw the accepted sessions and an unchanged current one of many suites."""
    sessions = ACCEPTED_SESSIONS + 1
    shape = (suites, sessions, CASES)
    base = rng.uniform(math.log(1.0), math.log(30.0), (suites, CASES))
    spread = scenario.case_spread * np.exp(
        rng.normal(0, scenario.spread_variation, (suites, CASES))
    )
    modes = np.zeros((suites, CASES))
    modes[:, : scenario.modal_cases] = rng.uniform(
        math.log(1.3), math.log(3.0), (suites, scenario.modal_cases)
    )
    day = _draw_spread(scenario, shape, rng) * spread[:, None] / math.sqrt(2)
    process = _draw_spread(scenario, shape, rng) * spread[:, None] / math.sqrt(2)
    age = np.arange(sessions)[None, :, None]
    drift = scenario.common_drift + rng.normal(0, scenario.case_drift, (suites, 1, CASES))
    level = (
        base[:, None]
        + rng.normal(0, scenario.mood, (suites, sessions, 1))
        + day
        + process
        + drift * age
        + modes[:, None] * (rng.random(shape) < SLOW_SHARE)
    )
    within = _draw_within_session(scenario, (suites, sessions), CASES * ROUNDS, rng)
    logs = level[..., None] + within.reshape(*shape, ROUNDS)
    rounds_s = np.exp(logs + _draw_round_noise(scenario, logs.shape, rng))
    return Suites(
        rounds_s=rounds_s + _draw_stalls_s(scenario, logs.shape, rng),
        base_log=base,
        spread=spread,
        day_log=day[:, -1],
        mode_log=modes,
    )


def draw_paired_durations_s(
    scenario: Scenario,
    suites: Suites,
    suite: int,
    case: int,
    orders: list[str],
    slowdown: float,
    rng: np.random.Generator,
    *,
    renew_every: int = RENEW_EVERY_BLOCK,
) -> NDArray[np.float64]:
    """Draw executions of a case in blocks, both workers started afresh every so many blocks.

    Args:
        scenario: The machine.
        suites: From `draw_suites`.
        suite: Which of them.
        case: Which case.
        orders: Order of the arms of each block, such as ``ABBA``.
        slowdown: What the change costs the arm B, log ratio; 0 for a control of A against A.
        rng: Random numbers.
        renew_every: Blocks that share their two processes.

    Returns:
        ``(len(orders), len(order))`` seconds.
    """
    arms = np.array([[arm == "B" for arm in order] for order in orders])
    lives = -(-len(orders) // renew_every)
    spread = suites.spread[suite, case] / math.sqrt(2)
    process = _draw_spread(scenario, (lives, 2), rng) * spread
    process += suites.mode_log[suite, case] * (rng.random((lives, 2)) < SLOW_SHARE)
    process = process.repeat(renew_every, axis=0)[: len(orders)]
    within = _draw_within_session(scenario, (1,), arms.size, rng, start=CASES * ROUNDS)
    logs = (
        suites.base_log[suite, case]
        + suites.day_log[suite, case]
        + np.take_along_axis(process, arms.astype(np.int64), axis=1)
        + within[0].reshape(arms.shape)
        + slowdown * arms
    )
    durations: NDArray[np.float64] = np.exp(logs + _draw_round_noise(scenario, logs.shape, rng))
    return durations + _draw_stalls_s(scenario, logs.shape, rng)


def draw_repeats_s(
    scenario: Scenario,
    suites: Suites,
    suite: int,
    case: int,
    processes: int,
    slowdown: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw the medians of the current code in fresh processes, ``(processes,)`` seconds."""
    orders = ["B" * ROUNDS] * processes
    rounds = draw_paired_durations_s(
        scenario, suites, suite, case, orders, slowdown, rng, renew_every=1
    )
    return np.asarray(np.median(rounds, axis=1))


def _draw_spread(
    scenario: Scenario, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    if scenario.tail_df:
        scale = math.sqrt((scenario.tail_df - 2) / scenario.tail_df)
        return rng.standard_t(scenario.tail_df, shape) * scale
    return rng.normal(0, 1, shape)


def _draw_within_session(
    scenario: Scenario,
    shape: tuple[int, ...],
    executions: int,
    rng: np.random.Generator,
    *,
    start: int = 0,
) -> NDArray[np.float64]:
    """Heat, wander and throttling along the executions of each session, from ``start`` on."""
    course = np.zeros((*shape, executions))
    if scenario.heat:
        warming = 1 - np.exp(-np.arange(start, start + executions) / 100)
        course += scenario.heat * np.exp(rng.normal(0, 0.2, shape))[..., None] * warming
    if scenario.wander:
        keep = math.exp(-1 / 50)
        state = rng.normal(0, scenario.wander, shape)
        for execution in range(executions):
            course[..., execution] += state
            push = rng.normal(0, scenario.wander * math.sqrt(1 - keep**2), shape)
            state = keep * state + push
    if scenario.throttle_on:
        throttled = rng.random(shape) < scenario.throttle_on / (
            scenario.throttle_on + scenario.throttle_off
        )
        for execution in range(executions):
            course[..., execution] += THROTTLED * throttled
            toggle = rng.random(shape)
            throttled = np.where(
                throttled, toggle >= scenario.throttle_off, toggle < scenario.throttle_on
            )
    return course


def _draw_round_noise(
    scenario: Scenario, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    spikes = rng.exponential(scenario.spike_mean, shape) * (rng.random(shape) < scenario.spike_rate)
    return rng.normal(0, scenario.round_noise, shape) + spikes


def _draw_stalls_s(
    scenario: Scenario, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    if not scenario.stall_rate:
        return np.zeros(shape)
    return rng.uniform(2, 8, shape) * (rng.random(shape) < scenario.stall_rate)


@dataclass(frozen=True)
class SimulatedAgain:
    """Measures the cases of one simulated suite again (`evidence.gate_power.gates.Again`)."""

    scenario: Scenario
    suites: Suites
    suite: int
    rng: np.random.Generator
    renew_every: int = RENEW_EVERY_BLOCK

    def draw_blocks_s(self, case: int, orders: list[str], slowdown: float) -> NDArray[np.float64]:
        """Draw paired blocks."""
        return draw_paired_durations_s(
            self.scenario,
            self.suites,
            self.suite,
            case,
            orders,
            slowdown,
            self.rng,
            renew_every=self.renew_every,
        )

    def draw_repeats_s(self, case: int, processes: int, slowdown: float) -> NDArray[np.float64]:
        """Draw the medians of fresh processes."""
        return draw_repeats_s(
            self.scenario, self.suites, self.suite, case, processes, slowdown, self.rng
        )
