"""Hosted Macs: predictions held against pictures, and what each machine is known for."""

import json

import pytest

from tools.hosted_pictures.__main__ import PRECISIONS, main
from tools.hosted_pictures.comparing import Prediction

FAULT = {"id": "linear-in-a-virtual-machine", "effect": "wrong", "certainty": "reported"}


def finding(**changes):
    return FAULT | {"condition": ""} | changes


def case(name, outcome, seen=True):
    return {"case": name, "outcome": outcome, "seen": {} if seen else None}


def lay_out(folder, cases, findings=()):
    for precision in PRECISIONS:
        report = {"findings": list(findings)}
        (folder / f"predicted-{precision}.json").write_text(json.dumps(report))
        run = {"sdperf_quality": {"cases": cases}}
        (folder / f"pictures-{precision}.json").write_text(json.dumps(run))
    return str(folder)


SOUND = [case("images", "PASS"), case("soundness", "PASS")]
WRONG = [case("images", "DEGRADED"), case("soundness", "PASS")]
LOST = [case("images", "BROKEN", seen=False), case("soundness", "BROKEN", seen=False)]


@pytest.mark.parametrize(
    ("cases", "expect", "status"),
    [
        (SOUND, "sound", 0),
        (WRONG, "sound", 1),
        (LOST, "sound", 1),
        ([*SOUND, *LOST], "sound", 1),
        ([], "sound", 1),
        (WRONG, "wrong", 0),
        (SOUND, "wrong", 1),
        (LOST, "wrong", 1),  # a GPU that cannot allocate is not one that draws wrong
    ],
)
def test_the_gates_have_to_say_what_is_known_of_the_machine(
    tmp_path, capsys, cases, expect, status
):
    assert main([lay_out(tmp_path, cases), "--expect", expect]) == status
    assert "| precision | predicted |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cases", "findings", "came"),
    [
        (SOUND, [], "right"),
        (SOUND, [finding()], "not right"),
        (WRONG, [finding()], "right"),
        (WRONG, [], "not right"),
        (LOST, [finding()], "no picture to hold it against"),
    ],
)
def test_each_prediction_is_held_against_what_happened(tmp_path, capsys, cases, findings, came):
    main([lay_out(tmp_path, cases, findings), "--expect", "sound"])
    assert f" {came} |" in capsys.readouterr().out


def test_what_may_be_is_no_prediction():
    report = {
        "findings": [
            finding(certainty="suspected"),
            finding(condition="on M1"),
            finding(effect="slow"),
        ]
    }
    assert Prediction.of("fp32", report).faults == ()


@pytest.mark.parametrize("text", ["[]", "{", '{"sdperf_quality": {}}'])
def test_a_file_that_cannot_be_read_is_no_answer(tmp_path, capsys, text):
    folder = lay_out(tmp_path, SOUND)
    (tmp_path / "pictures-fp16.json").write_text(text)
    assert main([folder, "--expect", "sound"]) == 2
    assert "no answer" in capsys.readouterr().err
