import json
import os
import shutil

import pytest

from sdperf.models import hashing
from sdperf.models.hashing import compute_model_hash, default_cache_dir

NAMES = ("a.json", "part/b.safetensors")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    for name in NAMES:
        write(folder / name, name)
    return folder


@pytest.fixture
def read(monkeypatch):
    """Names of the files that were read, in order."""
    names = []
    original = hashing._hash_file

    def hash_file(path):
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(hashing, "_hash_file", hash_file)
    return names


def write(path, text, age_s=10):
    path.write_text(text, encoding="utf-8")
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch):
    """A test's files are younger than any real model's: let them count as settled."""
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)


def test_names_and_contents_decide_the_hash(model, tmp_path):
    first = compute_model_hash(model, NAMES, None)
    assert compute_model_hash(model, reversed(NAMES), None) == first
    moved = shutil.move(model, tmp_path / "moved")
    assert compute_model_hash(moved, NAMES, None) == first
    write(moved / "a.json", "b.json")
    changed = compute_model_hash(moved, NAMES, None)
    (moved / "a.json").rename(moved / "c.json")
    assert len({first, changed, compute_model_hash(moved, ("c.json", NAMES[1]), None)}) == 3


def test_a_file_is_read_once_until_it_changes(model, tmp_path, read):
    cache = tmp_path / "cache"
    first = compute_model_hash(model, NAMES, cache)
    assert compute_model_hash(model, NAMES, cache) == first
    assert len(read) == 2
    before = (model / "a.json").stat()
    (model / "a.json").write_text("x.json", encoding="utf-8")
    os.utime(model / "a.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = compute_model_hash(model, NAMES, cache)
    assert changed != first, "the same size and a restored time must not hide a change"
    assert changed == compute_model_hash(model, NAMES, None)
    assert read[:3] == ["a.json", "b.safetensors", "a.json"]


def test_a_file_that_just_changed_is_not_remembered(model, tmp_path, read, monkeypatch):
    monkeypatch.setattr(hashing, "_SETTLED_NS", 10**12)
    for _ in range(2):
        compute_model_hash(model, NAMES, tmp_path / "cache")
    assert len(read) == 4
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"x": 1}', b"[" * 99_999])
def test_a_damaged_memory_is_started_anew(model, tmp_path, content, read):
    memory = tmp_path / "file-hashes.json"
    memory.write_bytes(content)
    first = compute_model_hash(model, NAMES, tmp_path)
    assert compute_model_hash(model, NAMES, tmp_path) == first
    assert len(read) == 2
    assert len(json.loads(memory.read_bytes())) == 2
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_files_that_are_gone_are_forgotten(model, tmp_path):
    compute_model_hash(model, NAMES, tmp_path)
    (model / "a.json").unlink()
    write(model / "new.json", "new")
    compute_model_hash(model, ("new.json", NAMES[1]), tmp_path)
    memory = json.loads((tmp_path / "file-hashes.json").read_bytes())
    assert {key.split("|")[0].rpartition("/")[2] for key in memory} == {
        "new.json",
        "b.safetensors",
    }


def test_a_cache_that_cannot_be_written_is_no_error(model, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    assert compute_model_hash(model, NAMES, blocked) == compute_model_hash(model, NAMES, None)


def test_a_failed_write_leaves_no_litter(model, tmp_path, monkeypatch):
    monkeypatch.setattr(hashing.json, "dump", fail)
    compute_model_hash(model, NAMES, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def fail(*args, **keywords):
    raise OSError("disk full")


def test_the_cache_is_where_the_user_says_or_nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "sdperf"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(hashing.Path, "home", lambda: tmp_path)
    for system, place in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr(hashing.sys, "platform", system)
        assert default_cache_dir() == tmp_path / place / "sdperf"
    monkeypatch.setattr(hashing.Path, "home", homeless)
    assert default_cache_dir() is None


def homeless():
    raise RuntimeError("no home")
