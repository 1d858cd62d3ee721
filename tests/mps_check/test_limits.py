"""The list of limits: sound entries, and ranges that the wheels bear out."""

from pathlib import Path

import pytest
from packaging.version import Version

from sdperf.errors import ConfigurationError
from sdperf.mps_check.dispatch import TABLE_PATH, known_versions, load_dispatch_table
from sdperf.mps_check.limits import load_limits, load_unseen, parse_limit
from tests.support.mps_check_making import call, packed
from tools.mps_tables.__main__ import read_versions
from tools.mps_tables.listing import list_limits, list_unseen

DOCS = Path(__file__).parents[2] / "docs" / "mps-check.md"

SOUND = {
    "id": "made-up",
    "title": "something happens",
    "effect": "wrong",
    "torch": ">=2.8,<2.10",
    "operators": ["cat"],
    "predicate": "any_call",
    "stages": ["denoising"],
    "remedy": "do something else",
    "sources": ["pytorch/pytorch#1"],
}
WITH_MESSAGE = [limit for limit in load_limits() if limit.wheel_text]


def test_ids_are_unique():
    names = [each.id for each in (*load_limits(), *load_unseen())]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("limit", WITH_MESSAGE, ids=lambda limit: limit.id)
def test_a_message_stands_in_the_wheels_of_just_the_versions_that_are_named(limit):
    named = [version for version in known_versions() if limit.holds_for_torch(Version(version))]
    wheels = read_versions(TABLE_PATH, [limit.wheel_text])
    assert named == [one["version"] for one in wheels if one["texts"]]


@pytest.mark.parametrize("limit", load_limits(), ids=lambda limit: limit.id)
def test_operators_exist_in_some_version_that_has_the_limit(limit):
    known = {
        name.partition(".")[0]
        for version in known_versions()
        if limit.holds_for_torch(Version(version))
        for name, letter in load_dispatch_table(version, "0").letters.items()
        if letter != "-"
    }
    assert set(limit.operators) - {"*"} <= known


def test_a_limit_concerns_calls_of_its_operators_only():
    limit = parse_limit(SOUND)
    assert limit.concerns(call("cat", packed(1)))
    assert limit.concerns(call("aten::cat.out", packed(1)))
    assert not limit.concerns(call("add", packed(1)))
    assert not limit.concerns(call("mine::cat", packed(1)))
    assert [
        limit.holds_for_torch(Version(one)) for one in ("2.7.1", "2.8.0", "2.9.1", "2.10.0")
    ] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"predicate": "no_such"}, "predicate no_such"),
        ({"effect": "odd"}, "effect odd"),
        ({"certainty": "sure"}, "certainty sure"),
        ({"torch": "2.8 or so"}, "InvalidSpecifier"),
        ({"operators": []}, "no operators"),
        ({"stages": ["lunch"]}, "stages"),
        ({"sources": []}, "no source"),
        ({"sources": ["somebody said"]}, "sources"),
        ({"sources": ["wheel"]}, "a wheel without its message"),
        ({"wheel_text": "not supported"}, "a wheel without its message"),
        ({"chips": "M3"}, "chips M3"),
        ({"reported": "May"}, "reported May"),
        ({"remedy": ""}, "an empty title or remedy"),
        ({"colour": "red"}, "TypeError"),
    ],
)
def test_a_damaged_entry_is_refused_by_name(change, complaint):
    with pytest.raises(ConfigurationError, match=f"made-up.*{complaint}"):
        parse_limit(SOUND | change)


@pytest.mark.parametrize(
    ("chips", "having", "lacking"),
    [
        ("", ["Apple M1", "Apple M4 Pro", ""], []),
        ("M1", ["Apple M1", "Apple M1 (Virtual)"], ["Apple M2", "Apple M10"]),
        ("M1 and M2", ["Apple M2 Ultra"], ["Apple M3"]),
        ("M5 and later", ["Apple M5", "Apple M10 Max"], ["Apple M4", "Apple M1 (Virtual)"]),
        ("virtual machines", ["Apple M1 (Virtual)"], ["Apple M1"]),
    ],
)
def test_a_limit_holds_for_the_chips_that_it_names(chips, having, lacking):
    limit = parse_limit(SOUND | {"chips": chips})
    assert all(limit.holds_for_chip(chip) for chip in having)
    assert not any(limit.holds_for_chip(chip) for chip in lacking)
    assert limit.holds_for_chip(None) == (chips != "virtual machines")


@pytest.mark.parametrize("field", ["title", "torch", "operators", "sources"])
def test_a_missing_field_is_refused(field):
    with pytest.raises(ConfigurationError, match="made-up"):
        parse_limit({name: value for name, value in SOUND.items() if name != field})


def test_the_docs_list_every_limit_and_every_trap_as_they_are():
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    assert set(list_limits()) | set(list_unseen()) <= set(lines)
