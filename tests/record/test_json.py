"""What a record's reader refuses, and how it says so."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import pytest

from sdperf.errors import ConfigurationError, RecordError
from sdperf.record.json import check_format_version, decode_object, format_record, parse_record


@dataclasses.dataclass(frozen=True)
class Leaf:
    seconds: float
    kind: Literal["warm", "cold"] = "warm"
    box: tuple[int, int] | None = None

    def __post_init__(self):
        if self.seconds < 0:
            raise RecordError("no leaf is older than its tree", got=self.seconds)
        if self.seconds > 1e6:
            raise ConfigurationError("too old")
        if self.seconds > 1e5:
            raise ValueError("rather old")


@dataclasses.dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    count: int = 0
    by_name: Mapping[str, Leaf] = dataclasses.field(default_factory=dict)
    note: str | None = None
    is_green: bool = True


@dataclasses.dataclass(frozen=True)
class Number:
    seconds: float


WHOLE = Tree((Leaf(1.0), Leaf(2.5, "cold", (1, 2))), 3, {"a.b": Leaf(0.0)}, "\ud800", False)


def with_leaf(**changes):
    return {"leaves": [{"seconds": 1}, {"seconds": 2} | changes]}


def test_a_record_goes_out_and_comes_back():
    assert parse_record(Tree, format_record(WHOLE)) == WHOLE
    assert parse_record(Tree, {"leaves": [], "of a newer writer": {"deep": [1]}}) == Tree(())
    assert isinstance(parse_record(Tree, with_leaf()).leaves[0].seconds, float)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "Tree cannot be read; got: None; expected: an object"),
        ({}, "Tree.leaves is missing"),
        ({"leaves": [{}]}, "Tree.leaves[0].seconds is missing"),
        ({"leaves": {}}, "Tree.leaves cannot be read; got: {}; expected: a list"),
        (with_leaf(seconds="2"), "Tree.leaves[1].seconds cannot be read; got: '2'; * a number"),
        (with_leaf(seconds=True), "Tree.leaves[1].seconds *; got: True; *"),
        (with_leaf(seconds=10**400), "Tree.leaves[1].seconds *; got: 1000*...; * a finite number"),
        (with_leaf(seconds=float("inf")), "Tree.leaves[1].seconds *; got: inf; *"),
        (with_leaf(more=[float("nan")]), "Tree.leaves[1].more[0] *; got: nan; *"),
        (with_leaf(kind="hot"), "Tree.leaves[1].kind *; got: 'hot'; expected: 'warm' or 'cold'"),
        (with_leaf(kind=["warm"]), "Tree.leaves[1].kind *; got: ['warm']; expected: text"),
        (with_leaf(box=[1]), "Tree.leaves[1].box *; got: [1]; expected: a list of 2"),
        (with_leaf(box=[1, 0.5]), "Tree.leaves[1].box[1] *; got: 0.5; expected: a whole number"),
        (with_leaf(box="1,2"), "Tree.leaves[1].box *; expected: a list or null"),
        (with_leaf(kind="\ud800"), "Tree cannot be used; got: *surrogates*"),
        (with_leaf() | {"by_name": {"x": {"seconds": []}}}, "Tree.by_name[...].seconds *; * a nu*"),
        (with_leaf() | {"by_name": {"x": {"seconds": 1, "kind": 1}}}, "Tree.by_name[...].kind *"),
        (with_leaf() | {"count": True}, "Tree.count *; got: True; expected: a whole number"),
        (with_leaf() | {"is_green": 1}, "Tree.is_green *; got: 1; expected: true or false"),
        (with_leaf(seconds=-1), "no leaf is older than its tree; got: -1.0"),
        (with_leaf(seconds=10**7), "Tree cannot be used; got: too old"),
        (with_leaf(seconds=2 * 10**5), "Tree.leaves[1] cannot be used; got: rather old"),
    ],
)
def test_what_is_refused_is_named_with_its_place(document, said):
    with pytest.raises(RecordError) as caught:
        parse_record(Tree, document)
    parts, text = said.split("*"), str(caught.value)
    assert text.startswith(parts[0]), text
    assert text.endswith(parts[-1]), text
    at = 0
    for part in parts:
        at = text.find(part, at)
        assert at >= 0, text


def test_what_is_nested_too_deep_is_refused_and_no_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecordError):
        parse_record(Tree, {"leaves": [], "more": deep})
    with pytest.raises(RecordError, match="it is no JSON"):
        decode_object(b'{"a": ' + b"[" * 100_000, "it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": NaN}', "it is no JSON.*NaN is no number.*do: mend it"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1', "truncated or damaged"),
        (b"\xff\xfe", "truncated or damaged"),
        (b'{"a": %b}' % (b"9" * 5000), "truncated or damaged"),
        (b"[1]", "it cannot be read; got: list; expected: an object; do: mend it"),
    ],
)
def test_what_is_no_json_object_is_refused(content, said):
    with pytest.raises(RecordError, match=said):
        decode_object(content, "it", "mend it")


@pytest.mark.parametrize(
    ("version", "got"), [(2, "version 2"), (True, "version True"), (None, "no"), ("1", "'1'")]
)
def test_another_format_version_is_one_message(version, got):
    with pytest.raises(RecordError, match=f"run.json was written by another sdperf.*{got}.*upgra"):
        check_format_version("run.json", version, 1)
    check_format_version("run.json", 1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_never_written(value):
    with pytest.raises(RecordError, match=r"Tree.by_name\['x'\].seconds cannot be stored"):
        format_record(Tree((), by_name={"x": Number(value)}))
