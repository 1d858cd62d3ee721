import sys
from pathlib import Path

from sdperf.ab.sides.sides import Side
from sdperf.ab.turns.bench import GuardedBlocks, LiveBench
from sdperf.measure.fitness.conditions import Conditions
from sdperf.record.workload import Workload


def conditions(**changes):
    return Conditions("linux", "cpu", **changes)


def test_blocks_in_which_a_guard_changed_do_not_count():
    readings = iter([conditions(power_source="ac")] * 3 + [conditions(power_source="battery")])
    watch = GuardedBlocks(lambda: next(readings))
    watch.begin()
    assert watch.end() is None
    watch.begin()
    assert "battery" in watch.end()


def test_packages_are_looked_for_where_the_worker_will_find_them(tmp_path, monkeypatch):
    carried = tmp_path / "carried-1.2.dist-info"
    carried.mkdir()
    (carried / "METADATA").write_text("Metadata-Version: 2.1\nName: carried\nVersion: 1.2\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    workload = Workload("embedded", ("a",), num_inference_steps=1, guidance_scale=3.0)
    bench = LiveBench(root=tmp_path)
    assert bench.examine(Side("own", workload)).packages["carried"] == "1.2"
    other = Side("other", workload, interpreter=Path(sys.executable))
    assert "carried" not in bench.examine(other).packages
    inside = Side("revision", workload, repository=tmp_path)
    assert "carried" not in bench.examine(inside).packages
