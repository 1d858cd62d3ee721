"""Hold the simulated machines against the figures of the study that they were fixed by.

Run as ``python -m evidence.gate_power.anchors``. The study gives, for a single case, the chance
that a rule reports it unchanged and at +5 %, and, for suites of 60 cases on ``typical``, the share
that its screens flag.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from evidence.gate_power.rivals import RIVALS
from evidence.gate_power.scenarios import ACCEPTED_SESSIONS, SCENARIOS, draw_suites
from sdperf.stats.distributions import compute_student_t_quantile
from sdperf.stats.intervals import SPREAD_FLOOR
from sdperf.stats.suite_shift import compute_suite_shift

PUBLISHED = {
    "quiet": {
        "pytest-benchmark median:5%": (0.000, 0.51),
        "pyperf": (0.09, 0.94),
        "asv, factor 1.05": (0.000, 0.50),
        "Criterion": (0.017, 0.90),
        "Welch on rounds, CI90>5%": (0.000, 0.15),
    },
    "typical": {
        "pytest-benchmark median:5%": (0.02, 0.50),
        "pyperf": (0.21, 0.88),
        "asv, factor 1.05": (0.017, 0.49),
        "Criterion": (0.14, 0.82),
        "Welch on rounds, CI90>5%": (0.005, 0.28),
    },
    "laptop": {
        "pytest-benchmark median:5%": (0.21, 0.50),
        "pyperf": (0.33, 0.64),
        "asv, factor 1.05": (0.19, 0.46),
        "Criterion": (0.29, 0.60),
        "Welch on rounds, CI90>5%": (0.12, 0.35),
    },
}
PUBLISHED_SCREENS = {
    "median:5% against the latest, red suites": 0.17,
    "t interval a case, red suites": 0.32,
    "shift removed, suites with a flag": 0.44,
    "shift removed, flags a suite": 0.6,
}
SCREEN_RISE = math.log(1.02)


def flag_cases(history: NDArray[np.float64], current: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Flag as the study's screen does: above a 95 % prediction bound of a case's own, and 2 %."""
    count = len(history)
    spread = np.maximum(history.std(axis=0, ddof=1), SPREAD_FLOOR)
    reach = compute_student_t_quantile(0.95, count - 1) * spread * math.sqrt(1 + 1 / count)
    rise = current - history.mean(axis=0)
    return np.asarray((rise > reach) & (rise > SCREEN_RISE))


def compute_screens(suites: int, rng: np.random.Generator) -> dict[str, float]:
    """Run the study's screens on unchanged ``typical`` suites."""
    typical = next(one for one in SCENARIOS if one.name == "typical")
    medians = np.log(np.median(draw_suites(typical, suites, rng).rounds_s, axis=-1))
    latest, plain, flags = [], [], []
    for suite in medians:
        history, current = suite[:ACCEPTED_SESSIONS], suite[ACCEPTED_SESSIONS]
        latest.append(bool((current - history[-1] > math.log(1.05)).any()))
        plain.append(bool(flag_cases(history, current).any()))
        shift = compute_suite_shift(history, current)
        assert shift is not None
        flags.append(int(flag_cases(shift.adjusted_history, shift.adjusted_current).sum()))
    found = (np.mean(latest), np.mean(plain), np.mean(np.array(flags) > 0), np.mean(flags))
    return dict(zip(PUBLISHED_SCREENS, (float(one) for one in found), strict=True))


def main() -> None:
    rng = np.random.default_rng(1)
    print("| machine | rule, one case | unchanged: study | here | +5 %: study | here |")
    print("| --- | --- | --- | --- | --- | --- |")
    for scenario in SCENARIOS[:3]:
        rounds_s = draw_suites(scenario, 200, rng).rounds_s
        baseline, current = rounds_s[:, -2], rounds_s[:, -1]
        for name, (red, caught) in PUBLISHED[scenario.name].items():
            rule = RIVALS[name]
            here = rule(baseline, current).mean(), rule(baseline, current * 1.05).mean()
            print(
                f"| {scenario.name} | {name} | {red} | {here[0]:.3f} | {caught} | {here[1]:.2f} |"
            )
    print("\n| `typical`, 60 cases | study | here |\n| --- | --- | --- |")
    for name, share in compute_screens(1000, rng).items():
        print(f"| {name} | {PUBLISHED_SCREENS[name]} | {share:.2f} |")


if __name__ == "__main__":
    main()
