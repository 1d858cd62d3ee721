import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.store.calibration import (
    CalibratedCase,
    Calibration,
    read_calibrations,
    write_calibration,
)
from tests.support.measurements import WORKLOAD

CASE = "test_latency.py::test_latency[fp32-sync-1w]"
FOUND = Calibration(
    fingerprint="cpu--test-chip",
    measured_at="2026-11-23T00:00:00+00:00",
    command="sdperf calibrate",
    max_slowdown=0.03,
    supports_limit=False,
    calibrated={CASE: CalibratedCase(0.041, WORKLOAD, 1)},
    cases=(CASE,),
    sessions=(((1.0, 1.1),), ((1.2, 1.3),)),
)


def test_a_calibration_goes_to_disk_and_back(tmp_path):
    path = write_calibration(tmp_path, FOUND, {"sessions": 2})
    assert read_calibrations(tmp_path) == {"cpu--test-chip": FOUND}
    document = json.loads(path.read_text())
    assert document["noise"] == {"sessions": 2}
    assert document["sessions"] == [[[1.0, 1.1]], [[1.2, 1.3]]]


def test_no_folder_holds_none(tmp_path):
    assert read_calibrations(tmp_path / "absent") == {}


def test_it_speaks_of_the_same_work_alone():
    calibrated = FOUND.calibrated[CASE]
    assert calibrated.is_of(WORKLOAD, 1)
    assert calibrated.is_of(dataclasses.replace(WORKLOAD, model="./elsewhere"))
    assert not calibrated.is_of(dataclasses.replace(WORKLOAD, num_inference_steps=4))
    assert not calibrated.is_of(WORKLOAD, 8)
    assert not CalibratedCase(0.01).is_of(WORKLOAD)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("fingerprint"),
        lambda record: record.update(calibrated=3),
        lambda record: record["calibrated"][CASE].update(width=-1),
        lambda record: record["calibrated"][CASE].update(workload={}),
        lambda record: record.update(format_version=2),
    ],
)
def test_damage_is_named_and_never_skipped(tmp_path, damage):
    path = write_calibration(tmp_path, FOUND, {})
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RecordError, match=r"cpu--test-chip\.json"):
        read_calibrations(tmp_path)


@given(st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_arbitrary_bytes_are_refused(tmp_path, content):
    (tmp_path / "any.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"any\.json"):
        read_calibrations(tmp_path)
