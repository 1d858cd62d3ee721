"""The journal's file: appended to, checked line by line, torn only at its end."""

import dataclasses
import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.store.code import hash_code, locate_module
from sdperf.store.journal import (
    Journal,
    JournalEntry,
    JournalHead,
    JournalProcess,
    choose_journal,
    explain_other_session,
    list_journals,
    parse_journal,
    read_journal,
    remove_empty,
    remove_oldest,
)

HEAD = JournalHead("s1", {"rounds": "5"}, "c" * 64, ("benchmarks",), "/here", planned=3)
PROCESS = JournalProcess(7, "2026-01-02T03:04:05+00:00")


def entry(case="test_a", rounds=(1.5, 2.25)):
    return JournalEntry(
        case=case,
        kind="timed",
        record={"rounds_s": list(rounds), "name": "caf\xe9 \udcff"},
        environment={"chip": "x"},
        model_hash="m",
        images=("a" * 64,),
        started_at=PROCESS.started_at,
    )


@pytest.fixture
def journal(tmp_path):
    journal = Journal.begin(tmp_path, HEAD, PROCESS)
    journal.add(entry("test_a"))
    journal.add(entry("test_b"))
    return journal


def test_what_was_added_is_read_back(journal):
    content = read_journal(journal.path)
    assert content.head == HEAD
    assert content.processes == (PROCESS,)
    assert list(content.entries.values()) == [entry("test_a"), entry("test_b")]
    assert content.whole_bytes == journal.path.stat().st_size


def test_a_session_that_finished_nothing_does_not_stand_before_one_that_did(journal, tmp_path):
    later = Journal.begin(tmp_path, dataclasses.replace(HEAD, session="s2"), PROCESS)
    left = list_journals(tmp_path)
    assert left == [journal.path, later.path]
    assert choose_journal(left) == journal.path
    later.add(entry("test_a"))
    assert choose_journal(left) == later.path
    empty = Journal.begin(tmp_path / "elsewhere", HEAD, PROCESS)
    assert choose_journal([empty.path]) == empty.path


def test_of_a_repeated_case_the_last_one_counts(journal):
    journal.add(entry("test_a", (9.0,)))
    assert read_journal(journal.path).entries["test_a"].record["rounds_s"] == [9.0]


@given(cut=st.integers(1, 10_000))
def test_cut_anywhere_it_is_read_up_to_the_last_whole_line(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal.begin(folder, HEAD, PROCESS)
    journal.add(entry("test_a"))
    before = journal.path.stat().st_size
    journal.add(entry("test_b"))
    content = journal.path.read_bytes()
    kept = content[: max(before, len(content) - cut)]
    read = parse_journal(journal.path, kept)
    whole = ["test_a", "test_b"] if kept == content else ["test_a"]
    assert list(read.entries) == whole
    assert read.whole_bytes == len(content if kept == content else content[:before])


def test_going_on_cuts_off_what_was_torn(journal):
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"sha256": "00')
    later = JournalProcess(8, "2026-01-02T04:00:00+00:00")
    again = Journal.go_on(read_journal(journal.path), later)
    again.add(entry("test_c"))
    content = read_journal(journal.path)
    assert list(content.entries) == ["test_a", "test_b", "test_c"]
    assert content.processes == (PROCESS, later)
    assert journal.path.read_bytes().startswith(whole)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_damage_before_the_last_line_is_refused_by_its_number(journal, number):
    lines = journal.path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = lines[number - 1].replace(b"2026", b"2027", 1).replace(b"1.5", b"1.4", 1)
    lines[number - 1] = lines[number - 1].replace(b'"s1"', b'"s2"', 1)
    journal.path.write_bytes(b"".join(lines))
    with pytest.raises(RecordError, match=f"line {number} of .* is damaged.*--forget"):
        read_journal(journal.path)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"\x00" * 100, b'{"sha256": 1, "entry": []}\n']
)
def test_what_holds_no_session_is_refused(tmp_path, content):
    with pytest.raises(RecordError, match="--forget"):
        parse_journal(tmp_path / "journal.jsonl", content)


def test_another_format_is_refused(tmp_path):
    journal = Journal.begin(tmp_path, dataclasses.replace(HEAD, format_version=99), PROCESS)
    with pytest.raises(RecordError, match="another sdperf"):
        read_journal(journal.path)


def test_a_full_disk_leaves_what_was_whole(journal, monkeypatch):
    before = journal.path.read_bytes()
    write = os.write

    def half(descriptor, content):
        if len(content) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="space"):
        journal.add(entry("test_c"))
    assert journal.path.read_bytes() == before


def test_a_removed_journal_is_none(journal, tmp_path):
    assert list_journals(tmp_path) == [journal.path]
    journal.remove()
    assert list_journals(tmp_path) == []


def test_journals_without_a_finished_case_go(journal, tmp_path):
    Journal.begin(tmp_path, dataclasses.replace(HEAD, session="s2"), PROCESS)
    torn = Journal.begin(tmp_path, dataclasses.replace(HEAD, session="s3"), PROCESS)
    torn.path.write_bytes(torn.path.read_bytes()[:20])
    (tmp_path / ".sdperf/journal/s4").mkdir()
    damaged = Journal.begin(tmp_path, dataclasses.replace(HEAD, session="s5"), PROCESS)
    damaged.path.write_bytes(b"x" + damaged.path.read_bytes())
    remove_empty(tmp_path)
    assert list_journals(tmp_path) == [journal.path, damaged.path]
    assert not (tmp_path / ".sdperf/journal/s4").exists()


def test_the_oldest_go(tmp_path):
    for number in range(4):
        Journal.begin(tmp_path, dataclasses.replace(HEAD, session=f"s{number}"), PROCESS)
    assert remove_oldest(tmp_path, 3) == 1
    assert [path.parent.name for path in list_journals(tmp_path)] == ["s1", "s2", "s3"]


@pytest.mark.parametrize(
    ("settings", "code", "reason"),
    [
        ({"rounds": "5"}, "c" * 64, None),
        ({"rounds": "6"}, "c" * 64, "the setting rounds was 5 and is 6"),
        ({}, "c" * 64, "the setting rounds was 5 and is None"),
        ({"rounds": "5", "new": "1"}, "c" * 64, "the setting new was None and is 1"),
        ({"rounds": "5"}, "d" * 64, "the code has changed since"),
        ({"rounds": "5"}, None, "it could not be told whether the code is the same*"),
    ],
)
def test_a_session_counts_only_where_everything_is_equal(settings, code, reason):
    found = explain_other_session(HEAD, settings, code)
    assert found == reason or (reason or "").removesuffix("*") in found


def test_lines_are_plain_json(journal):
    for line in journal.path.read_text(encoding="ascii").splitlines():
        assert set(json.loads(line)) == {"sha256", "entry"}


def test_code_is_hashed_by_name_and_content(tmp_path):
    (tmp_path / "package").mkdir()
    module = tmp_path / "package" / "module.py"
    module.write_text("one = 1\n")
    first = hash_code([tmp_path])
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "other.py").write_text("")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    (tmp_path / "venv" / "package.py").write_text("")
    assert hash_code([tmp_path]) == first
    module.write_text("one = 2\n")
    second = hash_code([tmp_path])
    module.rename(module.with_name("renamed.py"))
    assert len({first, second, hash_code([tmp_path])}) == 3


def test_too_much_code_is_not_known(tmp_path, monkeypatch):
    (tmp_path / "one.py").write_text("")
    (tmp_path / "two.py").write_text("")
    assert hash_code([tmp_path]) is not None
    monkeypatch.setattr("sdperf.store.code.MOST_FILES", 1)
    assert hash_code([tmp_path]) is None


def test_a_module_is_located_without_importing_it(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise SystemExit")
    (tmp_path / "single.py").write_text("raise SystemExit")
    search_path = [str(tmp_path)]
    assert locate_module("package.inner", search_path) == tmp_path / "package"
    assert locate_module("single", search_path) == tmp_path / "single.py"
    assert locate_module("absent", search_path) is None
