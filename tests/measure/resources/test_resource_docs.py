"""The page about resources names every number and every guard there is."""

from pathlib import Path

import pytest

from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.fitness.guards import judge_guards
from sdperf.measure.resources.inventory import PROBE_KINDS
from sdperf.record.usage import ResourceUsage

PAGE = (Path(__file__).parents[3] / "docs" / "resources.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", ResourceUsage.__dataclass_fields__)
def test_every_field_is_documented(field):
    assert f"`{field}`" in PAGE


@pytest.mark.parametrize("platform", ["darwin", "linux"])
def test_every_guard_is_documented(platform):
    for guard in judge_guards(Conditions(platform=platform, device_kind="cuda")):
        assert f"| {guard.name}" in PAGE


def test_every_probe_is_documented():
    sources = {kind.name for kind in PROBE_KINDS} - {"nvml"}
    assert all(name in PAGE for name in sources)
    assert "NVML" in PAGE
