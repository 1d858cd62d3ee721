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

EIGHT = """
import os, sys
from sdperf.cli import main
from sdperf.store import baselines

folder, seen = sys.argv[1], []
for number in range(8):
    process = os.fork()
    if process == 0:
        run, kept = f"{folder}/run{number}/run.json", f"{folder}/kept"
        reason = ["--reason", f"number {number}"]
        os._exit(main(["baseline", "accept", run, "--baselines", kept, *reason]))
    seen.append(process)
print([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in seen])
"""
"""Forks eight processes that have imported the same, which takes a third of eight new ones."""


def test_eight_at_once_get_eight_numbers(tmp_path):
    for number in range(8):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        assert write_run(folder, seed=number) == folder / "run.json"
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == str([0] * 8)
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
