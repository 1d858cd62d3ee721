"""Memory of a program and of all that it started, as each system counts it."""

import subprocess
import sys

import pytest

from sdperf.measure import process_tree
from sdperf.measure.resources.apple import apple_rusage
from sdperf.measure.resources.apple.apple_rusage import ProcessReading


@pytest.fixture
def tree():
    """A process with a child."""
    script = "import subprocess, sys; p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)"
    script += "; print(p.pid, flush=True); sys.stdin.read(); p.stdin.close(); p.wait()"
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield parent.pid, int(parent.stdout.readline())
    parent.communicate()


def test_on_macos_a_trees_memory_is_the_sum_of_its_footprints(tree, monkeypatch):
    footprints = {tree[0]: ProcessReading(3 * 2**30), tree[1]: ProcessReading(2**30)}
    monkeypatch.setattr(process_tree.sys, "platform", "darwin")
    monkeypatch.setattr(apple_rusage, "read_process_usage", footprints.get)
    assert process_tree.read_tree_resident_bytes(tree[0]) == 4 * 2**30
    assert process_tree.read_tree_peak_bytes(tree[0]) == 4 * 2**30
    del footprints[tree[1]]  # the kernel does not tell of a process that is ending
    assert process_tree.read_tree_resident_bytes(tree[0]) == 3 * 2**30
    footprints.clear()
    assert process_tree.read_tree_resident_bytes(tree[0]) is None


def test_a_trees_memory_here_is_that_of_all_its_processes(tree):
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    both = process_tree.read_tree_peak_bytes(tree[0])
    child = process_tree.read_tree_peak_bytes(tree[1])
    assert both > child > 0
    assert process_tree.read_tree_resident_bytes(tree[0]) > 0
    assert process_tree.read_tree_peak_bytes(2**22 + 1) is None
