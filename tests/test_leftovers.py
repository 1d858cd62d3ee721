"""kill -9 at any moment leaves nothing that the next command does not clear."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tqdm import tqdm

from sdperf.ab.sides.worktree import checked_out, clear_leftovers
from sdperf.leftovers import PREFIX, sweep, temporary_folder
from sdperf.run.hosts.interpreter import staged_harness
from tests.support.repositories import git

HOLDER = """
import os, sys, time
from pathlib import Path
from sdperf.ab.sides.worktree import checked_out
from sdperf.run.hosts.interpreter import staged_harness
print("ready", flush=True)
with staged_harness(), checked_out(Path(sys.argv[1]), sys.argv[2]) as one:
    with checked_out(Path(sys.argv[1]), sys.argv[2]) as two:
        print("there", flush=True)
        time.sleep(600)
"""

IMPORT = """
import sys
from sdperf.cli import main
if __name__ == "__main__":
    print("ready", flush=True)
    main(["history", "import", sys.argv[1], "--history", sys.argv[2]])
"""

BAR = """
import sys
from sdperf.run.hosts.local import SpawnedHost
from tests.test_leftovers import show_progress
if __name__ == "__main__":
    host = SpawnedHost()
    assert host.executor.submit(show_progress).result() == 3
    host.kill()
"""


def show_progress():
    """Do what a pipeline does in a worker: show a progress bar."""
    return sum(1 for _ in tqdm(range(3)))


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number in range(200):
        (folder / f"mine{number}.py").write_text(f"VALUE = {number}\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "old")
    return folder


@pytest.mark.parametrize("moment_s", [None, *(random.Random(1).uniform(0, 0.25) for _ in range(4))])
def test_worktrees_of_a_killed_command_are_cleared_by_the_next(repository, temporary, moment_s):
    commit = git(repository, "rev-parse", "HEAD").strip()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(repository), commit], stdout=subprocess.PIPE, text=True
    )
    holder.stdout.readline()
    if moment_s is None:
        holder.stdout.readline()
        assert clear_leftovers() == 0, "the folders of a living command are left alone"
        assert git(repository, "worktree", "list").count("\n") == 2
    else:
        time.sleep(moment_s)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with staged_harness(), checked_out(repository, commit) as folder:
        assert (folder / "mine7.py").is_file()
    left = [path for path in temporary.iterdir() if path.name.startswith(PREFIX)]
    # a folder that was killed before its lock was taken is empty and has no worktree
    assert not [path for path in left if (path / "code").exists()]
    assert git(repository, "worktree", "list").count("\n") == 0


def test_readers_of_a_killed_import_leave_with_it(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    for number in range(600):
        (runs / f"{number}.json").write_text('{"benchmarks": [' + "[1]," * 2000 + "1]}")
    (tmp_path / "importing.py").write_text(IMPORT)
    importer = subprocess.Popen(
        [sys.executable, str(tmp_path / "importing.py"), str(runs), str(tmp_path / "h.db")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path.cwd(),
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    importer.stdout.readline()
    readers = []
    while len(readers) < 3 and importer.poll() is None:
        readers = psutil.Process(importer.pid).children(recursive=True) or readers
        time.sleep(0.01)
    assert len(readers) >= 3, "two readers or more, as there are processors, and a tracker"
    importer.send_signal(signal.SIGKILL)
    importer.wait()
    importer.stdout.close()
    _, alive = psutil.wait_procs(readers, timeout=60)
    assert not alive


def test_folders_of_others_are_left_alone(temporary):
    with temporary_folder("worker") as held:
        (temporary / f"{PREFIX}link").symlink_to(held)
        (temporary / f"{PREFIX}file").touch()
        (temporary / "another").mkdir()
        assert sweep() == 0
        assert held.is_dir()
    assert not held.exists()


def test_a_folder_that_was_killed_at_its_beginning_is_cleared_later(temporary):
    folder = temporary / f"{PREFIX}worker-x"
    folder.mkdir()
    sweep()
    assert folder.is_dir()
    os.utime(folder, (0, 0))
    sweep()
    assert not folder.exists()


def test_a_worker_that_showed_progress_leaves_no_semaphore(tmp_path):
    (tmp_path / "bar.py").write_text(BAR)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "bar.py")], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert "3/3" in ended.stderr
    assert "leaked" not in ended.stderr
