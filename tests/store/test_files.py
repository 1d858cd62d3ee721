import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdperf.errors import ImageError
from sdperf.images.png import encode_png
from sdperf.store.files import write_atomically
from sdperf.store.images import ImageStore

WRITER = """
import sys
from pathlib import Path
from sdperf.store.files import write_atomically

path = Path(sys.argv[1])
print("ready", flush=True)
for number in range(10**9):
    write_atomically(path, bytes([number % 256]) * 200_000)
"""


def test_a_file_appears_whole_with_its_folder(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [child.name for child in path.parent.iterdir()] == ["file.bin"]


def test_a_failed_write_keeps_the_old_content_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.1])
def test_a_reader_never_sees_half_a_file_when_the_writer_is_killed(tmp_path, delay_s):
    path = tmp_path / "file.bin"
    write_atomically(path, bytes(200_000))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
    ) as writer:
        writer.stdout.readline()
        try:
            writer.wait(timeout=delay_s)
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
    content = path.read_bytes()
    assert len(content) == 200_000
    assert len(set(content)) == 1


def test_images_are_stored_once_by_content_and_checked_when_read(tmp_path):
    store = ImageStore(tmp_path / "images")
    pixels = np.full((16, 16, 3), 7, dtype=np.uint8)
    sha256 = store.write(encode_png(pixels))
    assert store.write(encode_png(pixels)) == sha256
    assert len(list(store.folder.iterdir())) == 1
    assert np.array_equal(store.read(sha256), pixels)
    store.path(sha256).write_bytes(encode_png(pixels + 1))
    with pytest.raises(ImageError, match="was changed"):
        store.read(sha256)


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_a_hostile_hash_never_becomes_a_path(tmp_path, sha256):
    with pytest.raises(ImageError, match="malformed"):
        ImageStore(tmp_path).read(sha256)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(ImageError, match="a" * 64):
        ImageStore(tmp_path).read("a" * 64)


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "file.bin"
    left = tmp_path / ".file.bin.tmp"
    left.write_bytes(b"half")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [child.name for child in tmp_path.iterdir()] == ["file.bin"]


def test_a_file_that_another_process_writes_now_is_left_alone(tmp_path):
    path = tmp_path / "file.bin"
    other = tmp_path / ".file.bin.tmp"
    with other.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"half of the other's")
        file.flush()
        write_atomically(path, b"mine")
        assert path.read_bytes() == b"mine"
        assert other.read_bytes() == b"half of the other's"
    assert sorted(child.name for child in tmp_path.iterdir()) == [".file.bin.tmp", "file.bin"]


@pytest.mark.parametrize("name", ["victim", "nowhere"])
def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path, name):
    path, victim = tmp_path / "file.bin", tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".file.bin.tmp").symlink_to(tmp_path / name)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_device_and_a_pipe_are_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, b"words")
        assert os.read(reading, 100) == b"words"
    finally:
        os.close(reading)
    assert pipe.is_fifo()
    with pytest.raises(OSError, match="space"):
        write_atomically(Path("/dev/full"), b"words")
    assert Path("/dev/full").is_char_device()


MANY = """
import sys
from pathlib import Path
from sdperf.store.files import write_atomically
for number in range(200):
    write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 5000)
"""


def test_several_writers_of_one_file_at_once_lose_and_mix_nothing(tmp_path):
    path = tmp_path / "file.bin"
    writers = [subprocess.Popen([sys.executable, "-c", MANY, path, letter]) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            seen.add(path.read_bytes())
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen <= {letter.encode() * 5000 for letter in "abc"}
    assert [child.name for child in tmp_path.iterdir()] == ["file.bin"]
