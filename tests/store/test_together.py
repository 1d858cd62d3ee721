"""Several processes at once, and what the umask allows."""

import os
import stat
import subprocess
import sys

import pytest

from sdperf.errors import RecordError
from sdperf.store.baselines import BaselineStore
from sdperf.store.files import write_atomically
from sdperf.store.runs import read_run
from tests.support.saved_runs import write_run


def test_eight_at_once_get_eight_numbers(tmp_path):
    started = []
    for number in range(8):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        run = write_run(folder, seed=number)
        command = ["baseline", "accept", str(run), "--baselines", str(tmp_path / "kept")]
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "sdperf", *command, "--reason", f"number {number}"],
                stdout=subprocess.DEVNULL,
            )
        )
    assert [each.wait(timeout=120) for each in started] == [0] * 8
    sessions = BaselineStore(tmp_path / "kept").load_all()
    assert [one.number for one in sessions] == list(range(1, 9))
    assert not [path for path in (tmp_path / "kept").rglob("*") if "lock" in path.name]


@pytest.mark.parametrize(("mask", "expected"), [(0o077, 0o600), (0o022, 0o644), (0o027, 0o640)])
def test_the_umask_is_kept(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file.json", b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == expected


@pytest.mark.parametrize("damage", ["gone", "replaced"])
def test_accepted_pictures_that_are_gone_or_replaced_are_damage(tmp_path, damage):
    store = BaselineStore(tmp_path / "kept")
    store.accept(read_run(write_run(tmp_path)), reason="x")
    store.check_images()
    (picture,) = (tmp_path / "kept").rglob("*.png")
    if damage == "gone":
        picture.unlink()
    else:
        picture.write_bytes(b"another")
    with pytest.raises(RecordError, match=r"accepted session .* is damaged.*git checkout"):
        store.check_images()
    (session,) = store.load_all()
    store.reject(session)
    store.check_images()
