import contextlib
import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.record.json import format_measurement, parse_measurement
from sdperf.record.measurement import FORMAT_VERSION, Measurement
from sdperf.record.stages import StageTimes
from tests.support.measurements import ENVIRONMENT, image, measurement

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_a_measurement_survives_json():
    before = measurement()
    document = json.loads(json.dumps(format_measurement(before), allow_nan=False))
    assert parse_measurement(document) == before
    assert document["seconds_per_image"] == 1.0
    assert document["format_version"] == FORMAT_VERSION


def test_seconds_per_image_is_the_median_round_over_its_images():
    assert measurement(rounds_s=(4.0, 2.0), images_per_round=3).seconds_per_image == 1.0
    assert measurement(rounds_s=(4.0, 2.0), images_per_round=3).images_per_second == 1.0


@pytest.mark.parametrize("rounds", [(), (0.0,), (-1.0,), (math.nan,), (1.0, math.inf)])
def test_a_measurement_without_sound_rounds_is_refused(rounds):
    with pytest.raises(RecordError):
        measurement(rounds_s=rounds)


def test_nan_is_never_written():
    with pytest.raises(RecordError, match="entropy_bits"):
        format_measurement(measurement(images=(image(entropy_bits=math.nan),)))


def test_a_newer_format_is_refused_with_what_to_do():
    document = format_measurement(measurement()) | {"format_version": FORMAT_VERSION + 1}
    with pytest.raises(RecordError, match="upgrade"):
        parse_measurement(document)


@pytest.mark.parametrize("key", ["rounds_s", "workload", "images", "environment", "kind"])
def test_a_missing_field_is_named(key):
    document = format_measurement(measurement())
    del document[key]
    with pytest.raises(RecordError, match=key):
        parse_measurement(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rounds_s", 0), "fast"),
        (("rounds_s", 0), True),
        (("rounds_s", 0), 10**400),
        (("kind",), "speed"),
        (("images", 0, "seed"), 1.5),
        (("images", 0, "scores", 0, "worst_tile_box"), [1, 2]),
        (("environment", "packages"), ["torch"]),
        (("workload", "num_inference_steps"), 0),
        (("stages",), []),
    ],
)
def test_a_wrong_value_is_refused(path, value):
    document = format_measurement(measurement())
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(RecordError):
        parse_measurement(document)


@given(json_values)
def test_arbitrary_json_is_a_record_error(document):
    with pytest.raises(RecordError):
        parse_measurement(document)


@given(json_values, st.sampled_from([f.name for f in dataclasses.fields(Measurement)]))
def test_arbitrary_json_in_any_field_never_escapes(value, name):
    document = format_measurement(measurement()) | {name: value}
    with contextlib.suppress(RecordError):
        parse_measurement(document)


def test_the_fingerprint_names_the_machine_and_leaves_out_the_interpreter():
    assert ENVIRONMENT.fingerprint() == (
        "cpu--test-chip--4cpu--16gib--debian-12--torch-2.13--power-unknown"
    )
    newer = dataclasses.replace(ENVIRONMENT, python="3.13.0", commit="abc")
    assert newer.fingerprint() == ENVIRONMENT.fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"chip": "Apple M1"},
        {"device_kind": "mps", "device_name": "Apple GPU"},
        {"gpu_cores": 8},
        {"ram_bytes": 8 * 2**30},
        {"os_version": "13.1"},
        {"packages": {"torch": "2.14.0"}},
        {"power_mode": "low"},
    ],
)
def test_the_fingerprint_sees_what_changes_times(changes):
    assert dataclasses.replace(ENVIRONMENT, **changes).fingerprint() != ENVIRONMENT.fingerprint()


def test_a_hostile_chip_name_stays_a_folder_name():
    odd = dataclasses.replace(ENVIRONMENT, chip="../../etc/\x00 passwd")
    assert "/" not in odd.fingerprint()
    assert ".." not in odd.fingerprint().split("--")


def test_the_overlappable_share_is_what_is_not_the_devices():
    assert measurement().stages.overlappable_share() == pytest.approx(0.006)
    assert StageTimes(1.0).overlappable_share() is None
