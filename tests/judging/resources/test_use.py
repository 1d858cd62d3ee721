import dataclasses

import pytest

from sdperf.judging.resources.use import judge_cores, judge_energy
from sdperf.record.usage import ResourceUsage
from sdperf.record.verdict import Outcome
from tests.support.measurements import ENVIRONMENT, measurement


def watched(device="cpu", **usage):
    where = dataclasses.replace(ENVIRONMENT, device_kind=device)
    return measurement(environment=where, resources=ResourceUsage(window_s=1.0, **usage))


@pytest.mark.parametrize(
    ("device", "usage", "limit", "expected"),
    [
        ("cuda", {"images": 2, "gpu_board_energy_j": 500.0}, 240.0, Outcome.HEAVIER),
        ("cuda", {"images": 2, "gpu_board_energy_j": 500.0}, 250.0, Outcome.PASS),
        ("mps", {"images": 1, "gpu_soc_energy_j": 90.0}, 80.0, Outcome.HEAVIER),
        ("cpu", {"images": 1, "cpu_soc_energy_j": 90.0, "gpu_board_energy_j": 1.0}, 80.0,
         Outcome.HEAVIER),
        ("cuda", {"images": 1, "cpu_soc_energy_j": 1.0}, 80.0, Outcome.INCONCLUSIVE),
        ("cuda", {"gpu_board_energy_j": 1.0}, 80.0, Outcome.INCONCLUSIVE),
        ("cuda", {"images": 1, "gpu_board_energy_j": 1e9}, None, None),
    ],
)  # fmt: skip
def test_energy_is_judged_where_a_limit_is_given(device, usage, limit, expected):
    finding = judge_energy(watched(device, **usage), limit)
    assert (None if finding is None else finding.outcome) is expected


def test_energy_that_nobody_watched_is_open():
    assert judge_energy(measurement(), 1.0).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("cpu_s", "limit", "expected"),
    [
        ((3.0, 3.0, 3.0), 3.5, Outcome.SLOWER),
        ((4.0, 4.0, 4.0), 3.5, Outcome.PASS),
        ((), 3.5, Outcome.INCONCLUSIVE),
        ((0.1, 0.1, 0.1), None, None),
    ],
)
def test_cores_are_judged_where_a_limit_is_given(cpu_s, limit, expected):
    one = measurement(rounds_s=(1.0, 1.0, 1.0), rounds_cpu_s=cpu_s)
    finding = judge_cores(one, limit)
    assert (None if finding is None else finding.outcome) is expected


def test_single_stages_are_not_asked_for_cores_or_energy():
    alone = measurement(kind="stage", stage="deliver", rounds_cpu_s=(1.0, 1.1, 0.9))
    assert judge_cores(alone, 4.0) is None
    assert judge_energy(alone, 1.0) is None
