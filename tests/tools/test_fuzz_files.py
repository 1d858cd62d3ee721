"""Every reader of a file takes its sound file, and refuses a damaged one in one message."""

import random
from pathlib import Path

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tools.fuzz_readers import mutate, shorten
from tools.fuzz_readers.files import make_file_readers

RESULTS = Path(__file__).parents[2] / "docs/results"
READERS = {one.name: one for one in make_file_readers(RESULTS, shorten)}
SEEDS = st.integers(0, 2**64)


@pytest.mark.parametrize("name", READERS)
def test_a_sound_file_is_read(name, tmp_path):
    reader = READERS[name]
    reader.read(reader.encode(reader.document), tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_no_damaged_file_ends_in_a_traceback(name):
    reader = READERS[name]

    @seed(7)
    @settings(max_examples=40, deadline=None, database=None)
    @given(SEEDS)
    def damaged(number):
        content = mutate(reader.document, random.Random(number), reader.encode)
        fault = reader.find_fault(content)
        assert fault is None, f"{name}, mutation {number}: {fault!r}"

    damaged()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff\xfe", b"[" * 100_000, b"{}", b"[]", b"null", b'{"a": NaN}']
)
def test_no_odd_bytes_end_in_a_traceback(name, content):
    assert READERS[name].find_fault(content) is None


def test_a_reader_that_stumbles_is_found():
    reader = READERS["profile"]

    def stumble(content, folder):
        raise KeyError("x")

    planted = type(reader)("planted", {}, reader.encode, stumble)
    assert isinstance(planted.find_fault(b""), KeyError)
