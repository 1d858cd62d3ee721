import mmap
import sys

import pytest

from sdperf.measure.resident import read_resident_bytes

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_held_counts_and_a_mapped_file_does_not(tmp_path):
    path = tmp_path / "weights"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * MIB)
    before = read_resident_bytes()
    # Of its own, because an allocator may hand out pages that are resident already.
    held = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, len(held), 4096):
        held[start] = ord("x")
    after = read_resident_bytes()
    assert 60 * MIB < after - before < 80 * MIB
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[start] for start in range(0, len(mapped), 4096)) == 64 * 256 * ord("x")
        assert read_resident_bytes() - after < 20 * MIB
    held.close()


def test_where_nothing_tells_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr("sdperf.measure.resident._STATM", tmp_path / "none")
    monkeypatch.setattr(
        "sdperf.measure.resources.apple.apple_rusage.read_process_usage", lambda _: None
    )
    assert read_resident_bytes() is None
