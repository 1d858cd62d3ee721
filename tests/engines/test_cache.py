"""Conversions are made once, verified at each opening, and safe from others and from a kill."""

import dataclasses
import errno
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from sdperf.engines.cache import MANIFEST, EngineCache, locate_engine_cache
from sdperf.engines.conversion import Conversion
from sdperf.errors import EngineError
from sdperf.plugin.fixtures.conversions import conversions_shown

CONVERSION = Conversion(
    engine="toy",
    part="unet",
    model="embedded",
    model_hash="0" * 64,
    precision="fp32",
    height=32,
    width=32,
    versions={"toy": "1.0", "torch": "2.13"},
    options={"opset": 20},
)

ELSEWHERE = """
import sys
from pathlib import Path
from sdperf.engines.cache import EngineCache
from tests.engines.test_cache import CONVERSION

folder, record, waits = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "waits"

def convert(into):
    (into / "model.bin").write_bytes(b"half")
    with record.open("a") as lines:
        lines.write("converted\\n")
    print("converting", flush=True)
    if waits:
        sys.stdin.readline()
    (into / "model.bin").write_bytes(b"whole")

with EngineCache(folder).opened(CONVERSION, convert) as opened:
    content = (opened.folder / "model.bin").read_text()
    print("opened", opened.was_found, content, flush=True)
    sys.stdin.readline()
"""


class Converter:
    """Writes two files, and counts how often it did."""

    def __init__(self):
        self.calls = 0

    def __call__(self, folder):
        self.calls += 1
        (folder / "model.bin").write_bytes(b"weights" * 100)
        (folder / "data").mkdir()
        (folder / "data" / "more.bin").write_bytes(b"more")


@pytest.fixture
def cache(tmp_path):
    said = []
    cache = EngineCache(tmp_path / "engines", say=said.append, clock=iter(range(1000)).__next__)
    cache.said = said
    return cache


@contextmanager
def elsewhere(cache, record, *, waits):
    """Open the same conversion in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(cache.folder), str(record), waits],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def open_once(cache, convert, conversion=CONVERSION, **named):
    with cache.opened(conversion, convert, **named) as opened:
        return opened


def test_a_conversion_is_made_once_and_found_again(cache):
    convert = Converter()
    first, second = open_once(cache, convert), open_once(cache, convert)
    assert convert.calls == 1
    assert (first.was_found, second.was_found) == (False, True)
    assert second.manifest == first.manifest
    assert set(second.manifest.files) == {"model.bin", "data/more.bin"}
    assert second.manifest.size_bytes == 704
    assert second.manifest.conversion_s > 0
    assert (second.folder / "data" / "more.bin").read_bytes() == b"more"


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "other"},
        {"part": "vae_decoder"},
        {"model_hash": "1" * 64},
        {"precision": "fp16"},
        {"height": 64},
        {"width": 64},
        {"versions": {"toy": "1.1", "torch": "2.13"}},
        {"options": {"opset": 21}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_the_result_decides_the_entry(cache, change):
    convert = Converter()
    open_once(cache, convert)
    open_once(cache, convert, dataclasses.replace(CONVERSION, **change))
    assert convert.calls == 2
    assert len(cache.list_entries()) == 2


def test_what_the_user_calls_the_model_decides_nothing():
    assert dataclasses.replace(CONVERSION, model="a/b").key == CONVERSION.key


def cut_short(folder):
    (folder / "model.bin").write_bytes(b"weights")


def change_a_byte(folder):
    (folder / "data" / "more.bin").write_bytes(b"mole")


def lose_a_file(folder):
    (folder / "data" / "more.bin").unlink()


def lose_the_manifest(folder):
    (folder / MANIFEST).unlink()


def garble_the_manifest(folder):
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:100])


def take_another_manifest(folder):
    document = json.loads((folder / MANIFEST).read_text())
    document["key"] = "toy-unet-0123456789abcdef"
    (folder / MANIFEST).write_text(json.dumps(document))


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        change_a_byte,
        lose_a_file,
        lose_the_manifest,
        garble_the_manifest,
        take_another_manifest,
    ],
)
def test_a_damaged_entry_is_never_used_but_made_anew(cache, damage):
    convert = Converter()
    damage(open_once(cache, convert).folder)
    opened = open_once(cache, convert)
    assert convert.calls == 2
    assert not opened.was_found
    assert (opened.folder / "model.bin").stat().st_size == 700
    assert (opened.folder / "data" / "more.bin").read_bytes() == b"more"
    assert open_once(cache, convert).was_found


def test_a_damaged_file_is_named(cache):
    cut_short(open_once(cache, Converter()).folder)
    open_once(cache, Converter())
    told = [text for text in cache.said if "cut short" in text]
    assert len(told) == 1
    assert told[0].startswith("toy: model.bin of toy-unet-")


def test_a_conversion_that_fails_leaves_nothing_and_says_what_it_said(cache):
    def fail(folder):
        (folder / "model.bin").write_bytes(b"half")
        raise EngineError("an operator is missing")

    with pytest.raises(EngineError, match="an operator is missing"):
        open_once(cache, fail)
    assert cache.list_entries() == []
    assert not open_once(cache, Converter()).was_found


def test_a_disk_that_fills_up_is_one_message(cache):
    def fill(folder):
        (folder / "model.bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(EngineError, match="No space left on device") as caught:
        open_once(cache, fill)
    assert "sdperf engines clean" in caught.value.hint
    assert cache.list_entries() == []


def test_without_room_nothing_is_begun(cache):
    convert = Converter()
    cache.free_bytes = lambda _: 10 * 2**20
    with pytest.raises(EngineError, match="no room to convert the unet for toy") as caught:
        open_once(cache, convert, needed_bytes=2**30)
    assert caught.value.got.startswith("10.0 MiB free")
    assert caught.value.expected == "about 1.00 GiB"
    assert convert.calls == 0
    assert not open_once(cache, convert, needed_bytes=2**20).was_found


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="no conversion can be written"):
        open_once(EngineCache(tmp_path / "file" / "engines"), Converter())


def test_two_processes_convert_once_and_both_get_it(cache, tmp_path):
    record = tmp_path / "record"
    with elsewhere(cache, record, waits="waits") as first:
        assert first.stdout.readline() == "converting\n"
        (text,) = cache.list_running()
        assert text == "toy: converting the unet of embedded"
        with elsewhere(cache, record, waits="no") as second:
            first.stdin.write("go on\n")
            first.stdin.flush()
            assert first.stdout.readline() == "opened False whole\n"
            assert second.stdout.readline() == "opened True whole\n"
            assert record.read_text() == "converted\n"
            assert cache.list_running() == []


def test_a_run_shows_what_another_process_converts(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SDPERF_CACHE", str(cache.folder.parent))
    seen = threading.Event()
    told = []

    def announce(text):
        told.append(text)
        seen.set()

    with elsewhere(cache, tmp_path / "record", waits="waits") as other:
        assert other.stdout.readline() == "converting\n"
        with conversions_shown("torch", announce, poll_s=0.001):
            pass
        assert told == []
        with conversions_shown("toy", announce, poll_s=0.001):
            assert seen.wait(60)
    assert told == ["toy: converting the unet of embedded"]


def test_one_waits_for_the_other_and_says_so(cache, tmp_path):
    with elsewhere(cache, tmp_path / "record", waits="waits") as other:
        assert other.stdout.readline() == "converting\n"

        def let_go(seconds):
            if not other.stdin.closed:
                other.stdin.write("go on\nand leave\n")
                other.stdin.close()
            time.sleep(seconds)

        cache.wait_s = let_go
        convert = Converter()
        opened = open_once(cache, convert)
        assert convert.calls == 0
        assert (opened.folder / "model.bin").read_bytes() == b"whole"
        assert cache.said == ["toy: another process converts the unet, waiting"]
        assert cache.spent_s > 0


def test_a_process_that_is_killed_half_way_leaves_no_entry(cache, tmp_path):
    with elsewhere(cache, tmp_path / "record", waits="waits") as killed:
        assert killed.stdout.readline() == "converting\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    (left,) = cache.list_entries()
    assert left.manifest is None
    assert not left.is_used
    assert cache.list_running() == []
    convert = Converter()
    opened = open_once(cache, convert)
    assert convert.calls == 1
    assert (opened.folder / "model.bin").stat().st_size == 700
    assert [entry.folder for entry in cache.list_entries()] == [opened.folder]


def test_cleaning_removes_everything_but_what_is_in_use(cache):
    convert = Converter()
    open_once(cache, convert, dataclasses.replace(CONVERSION, part="vae_decoder"))
    with cache.opened(CONVERSION, convert) as opened:
        listed = {entry.folder.name: entry for entry in cache.list_entries()}
        assert [listed[name].is_used for name in sorted(listed)] == [True, False]
        freed, kept = cache.clean()
        assert kept == [opened.folder]
        assert freed > 704
        assert (opened.folder / "model.bin").exists()
    assert cache.clean()[1] == []
    assert cache.list_entries() == []


def test_an_entry_that_is_cleaned_all_the_time_is_given_up(cache, monkeypatch):
    def convert(folder):
        (folder / "model.bin").write_bytes(b"x")

    monkeypatch.setattr(EngineCache, "_find_sound", lambda *_, **__: None)
    with pytest.raises(EngineError, match="does not stay"):
        open_once(cache, convert)
    shutil.rmtree(cache.folder)


def test_the_folder_follows_the_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path / "own"))
    assert locate_engine_cache() == tmp_path / "own" / "engines"
    monkeypatch.delenv("SDPERF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert locate_engine_cache() == tmp_path / "sdperf" / "engines"
