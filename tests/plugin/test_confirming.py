import dataclasses

import pytest

from sdperf.measurement import MemoryUsage
from sdperf.plugin.confirming import explain_unpaired, fits_twice
from tests.measurements import ENVIRONMENT, measurement

COMMITTED = dataclasses.replace(ENVIRONMENT, commit="a" * 40)
GIB = 2**30


def saved(**changes):
    environment = dataclasses.replace(COMMITTED, **changes.pop("environment", {}))
    return measurement(**{"subject": "mine:make", "environment": environment} | changes)


def test_the_same_but_for_the_subjects_module_can_be_paired():
    assert explain_unpaired(saved(), saved(environment={"commit": "b" * 40})) is None


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (saved(subject=None), "no --sd-subject"),
        (saved(environment={"commit": None}), "commit is unknown"),
        (saved(environment={"commit": "a" * 40 + "-dirty"}), "uncommitted changes"),
        (saved(environment={"packages": {"torch": "2.12.0"}}), "other versions of torch"),
        (saved(environment={"variables": {"OMP_NUM_THREADS": "1"}}), "environment variables"),
        (saved(model_hash="d" * 64), "other weights"),
    ],
)
def test_whatever_else_changed_would_be_hidden_by_pairing(before, reason):
    assert reason in explain_unpaired(before, saved())


@pytest.mark.parametrize(
    ("memory", "kind", "fits"),
    [
        (MemoryUsage(), "cpu", True),
        (MemoryUsage(peak_rss_bytes=5 * GIB), "cpu", True),
        (MemoryUsage(peak_rss_bytes=6 * GIB), "cpu", False),
        (MemoryUsage(peak_rss_bytes=2 * GIB, peak_device_bytes=4 * GIB), "mps", False),
        (MemoryUsage(peak_rss_bytes=2 * GIB, peak_device_bytes=40 * GIB), "cuda", True),
    ],
)
def test_two_workers_stay_only_where_they_fit(memory, kind, fits):
    environment = dataclasses.replace(ENVIRONMENT, device_kind=kind)
    assert fits_twice(measurement(memory=memory, environment=environment)) is fits
