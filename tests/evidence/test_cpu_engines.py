"""Seconds of the processor are divided as the runtime tells them, in turns and with an interval."""

import json
from datetime import timedelta

import pytest

from evidence.cpu_engines import __main__ as networks
from evidence.cpu_engines import faults
from evidence.cpu_engines.kinds import sum_kinds


def test_layers_of_one_kernel_are_summed_and_what_takes_no_time_is_left_out():
    layers = [
        ("Reorder", "reorder_f32", timedelta(milliseconds=2)),
        ("Convolution", "brgconv", timedelta(milliseconds=3)),
        ("Reorder", "reorder_f32", timedelta(milliseconds=4)),
        ("Reshape", "unknown", timedelta(0)),
    ]
    assert sum_kinds(layers) == [
        {"kind": "Reorder", "kernel": "reorder_f32", "ms": 6.0, "layers": 2},
        {"kind": "Convolution", "kernel": "brgconv", "ms": 3.0, "layers": 1},
    ]


def test_sides_take_turns_and_are_compared_round_by_round(monkeypatch):
    now_s, order = [0.0], []

    def work(name, seconds):
        def run():
            order.append(name)
            now_s[0] += seconds

        return run

    monkeypatch.setattr(networks.time, "process_time", lambda: now_s[0])
    sides = {"torch": work("t", 0.03), "openvino": work("o", 0.01)}
    found = networks.take_turns(sides, rounds=6, calls=1)
    assert "".join(order) == ("ttoo" + "oott") * 3
    assert found["torch"]["ms"]["median"] == pytest.approx(30.0)
    assert found["openvino"]["times"]["median"] == pytest.approx(3.0)
    assert found["openvino"]["times"]["count"] == 6


def test_each_setting_of_the_count_of_faults_has_a_process_of_its_own(monkeypatch, tmp_path):
    asked = []

    def run(command, **_):
        asked.append(json.loads(command[command.index("--one") + 1]))
        told = {"images": asked[-1][0], "is_kept": asked[-1][1], "calls": [{"faults": 3}]}

        class Done:
            stdout = json.dumps(told) + "\n"

        return Done

    monkeypatch.setattr(faults.subprocess, "run", run)
    faults.main(["--images", "1", "--json", str(tmp_path / "faults.json")])
    assert asked == [[1, False], [1, True], [1, True], [1, False]]
    written = json.loads((tmp_path / "faults.json").read_text())
    assert [one["is_kept"] for one in written["results"]] == [False, True, True, False]
