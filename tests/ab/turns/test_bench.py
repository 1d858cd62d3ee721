import dataclasses
import sys
from pathlib import Path

from sdperf.ab.sides.sides import Side
from sdperf.ab.turns.bench import GuardedBlocks, LiveBench
from sdperf.measure.fitness.conditions import Conditions
from sdperf.record.floors import Floors
from sdperf.record.workload import DEFAULT_PICTURE_SHA256, InputPicture, Workload
from sdperf.store.references import locate_references, write_references


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


def test_floors_of_a_picture_task_are_those_that_were_calibrated_for_it(tmp_path):
    bench = LiveBench(root=tmp_path)
    plain = Workload("embedded", ("a",), num_inference_steps=1, guidance_scale=3.0)
    picture = InputPicture(DEFAULT_PICTURE_SHA256, task="inpaint")
    sides = [Side("own", plain), Side("own", dataclasses.replace(plain, picture=picture))]
    models = [bench.resolve_model(side) for side in sides]
    assert models[0].model_hash == models[1].model_hash
    for task, ssim in ((None, 0.91), ("inpaint", 0.81)):
        write_references(
            locate_references(tmp_path, models[0].model_hash, "cpu", task),
            workload=plain,
            model_hash=models[0].model_hash,
            images=[],
            floors={"bf16": Floors(ssim, 0.5, 0.5, "a try")},
            made_with={},
        )
    found = [bench.find_floors(side, "bf16", "cpu") for side in sides]
    assert [one.ssim for one in found] == [0.91, 0.81]
