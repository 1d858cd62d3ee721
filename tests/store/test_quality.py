import contextlib
import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.images import ComponentDistance, TrajectoryDistance
from sdperf.record.observation import (
    ComponentParity,
    ImageParity,
    PictureComponents,
    PictureTrajectory,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import ImageRequest
from sdperf.store.quality import QUALITY_KEY, format_quality, make_quality_case, parse_quality
from tests.support.measurements import image, scores

RUN = Path("run.json")
REQUEST = ImageRequest("red apple", 0)
SEEN = (
    Soundness((image(),), REQUEST, 5, None),
    Repeats(image(scores=(scores("same-process"),)), "it runs in pytest's own process"),
    ComponentParity(
        "fp32 of this run", REQUEST, (ComponentDistance("vae", "pixels", 40.0, 0.9, 0, False),)
    ),
    TrajectoryParity("fp32 of this run", REQUEST, TrajectoryDistance((0.0, None), (1.0, None), 1)),
    ComponentParity(
        "fp32",
        REQUEST,
        (),
        "the vae gives 1 where it gave 2",
        (PictureComponents(REQUEST, (ComponentDistance("vae", "pixels", 40.0, 0.9, 0, False),)),),
    ),
    TrajectoryParity(
        "fp32",
        REQUEST,
        TrajectoryDistance((), (), None),
        "drawn in 18 steps, the reference in 20",
        (PictureTrajectory(REQUEST, TrajectoryDistance((0.0,), (1.0,), None)),),
    ),
    ImageParity("reference", (image(),), ("key",)),
)
CASES = tuple(
    make_quality_case(
        f"test_quality.py::test_{number}[fp32]",
        "fp32",
        seen,
        (Finding(Outcome.PASS, "image", "well"), Finding(Outcome.DEGRADED, "image", "darker")),
    )
    for number, seen in enumerate(SEEN)
)


def written(cases=CASES):
    return {QUALITY_KEY: json.loads(json.dumps(format_quality(cases)))}


def test_every_observation_goes_into_a_run_and_back():
    assert parse_quality(RUN, written()) == CASES
    assert {case.outcome for case in CASES} == {"DEGRADED"}


def test_a_run_of_before_more_than_one_picture_was_looked_at_is_read():
    document = written(CASES[2:4])
    for case in document[QUALITY_KEY]["cases"]:
        del case["seen"]["others"], case["seen"]["mismatch"]
    assert parse_quality(RUN, document) == CASES[2:4]


def test_a_run_without_quality_cases_has_none():
    assert parse_quality(RUN, {"benchmarks": []}) == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda block: block.update(format_version=2),
        lambda block: block.update(format_version=True),
        lambda block: block.update(cases={}),
        lambda block: block["cases"].append(3),
        lambda block: block["cases"].append(block["cases"][0]),
        lambda block: block["cases"][0].update(observation="Taste"),
        lambda block: block["cases"][0].update(observation="Repeats"),
        lambda block: block["cases"][0].update(precision="fp8"),
        lambda block: block["cases"][0].pop("seen"),
        lambda block: block["cases"][0]["seen"]["images"][0].update(entropy_bits="much"),
        lambda block: block["cases"][0]["seen"].update(images=[]),
    ],
)
def test_damage_is_named_with_its_file(damage):
    document = copy.deepcopy(written())
    damage(document[QUALITY_KEY])
    with pytest.raises(RecordError, match=r"run\.json"):
        parse_quality(RUN, document)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format_version", "cases", "case", "seen", "observation"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_anything_is_read_or_refused_by_name(value):
    with contextlib.suppress(RecordError):
        parse_quality(RUN, {QUALITY_KEY: value})
