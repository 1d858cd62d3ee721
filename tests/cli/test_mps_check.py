"""``sdperf mps-check``: options, formats, exit status; what it finds is in tests/mps_check."""

import copy
import dataclasses
import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
import torch

from sdperf.cli import main
from sdperf.cli.machine import mps_check
from sdperf.mps_check.calls import MpsRecording, OperatorCall
from tests.support.mps_check_making import attention, call, packed
from tools.record_schema.mps_check import make_mps_check_schema

SCHEMA_PATH = Path(__file__).parents[2] / "docs" / "mps-check.schema.json"
SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
QUERY = packed(1, 4, 77, 64, dtype="float16")
CAUSAL = attention(
    QUERY, is_causal=True, stage="encode_prompt", module="text_encoder", line="clip.py:7"
)
MISSING = call("linalg_eig", packed(4), self=packed(4, 4))
SLOW = call("cat", packed(4), tensors=(packed(2), packed(2)))
STRANGE = call("torchvision::nms", packed(4), dets=packed(4, 4), iou_threshold=0.5)
NESTED = call("cat", packed(2), tensors=(packed(1), packed(1)), dim=(0, None, True, 0.5, "inf"))
SOUND = call("add.Tensor", packed(4), self=packed(4), other=packed(4), alpha=1)


@pytest.fixture
def recorded(monkeypatch):
    """Replaces the recording, which needs a pipeline."""

    def record(*calls):
        recording = MpsRecording(Counter(calls), "fp16", 128, 128, 2)
        monkeypatch.setattr(mps_check, "_record", lambda *_: recording)

    return record


def run(capsys, *words):
    status = main(["mps-check", *words])
    return status, capsys.readouterr().out


def test_nothing_found(recorded, capsys):
    recorded(SOUND)
    status, text = run(capsys, "--torch-version", "2.14")
    assert status == 0
    assert "nothing is known to go wrong on MPS" in text
    assert "cannot know: numerics, speed, memory" in text


def test_a_finding_names_operator_place_and_remedy(recorded, capsys):
    recorded(CAUSAL, CAUSAL, SOUND)
    status, text = run(capsys, "--torch-version", "2.10.0", "--macos", "26.1")
    assert status == 1
    flat = " ".join(text.split())
    assert "torch 2.10.0, macOS 26.1" in flat
    assert "at: clip.py:7 in text_encoder, encode_prompt, 2 calls" in flat
    assert "do: encode the text in float32" in flat
    assert "pytorch/pytorch#195910" in flat
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_is_only_suspected_fails_where_strict(recorded, capsys):
    recorded(CAUSAL)
    status, text = run(capsys, "--torch-version", "2.13")
    assert status == 0
    assert "may go wrong" in text
    assert "if: suspected, not reported" in text
    assert run(capsys, "--torch-version", "2.13", "--strict")[0] == 1


def test_advice_never_fails(recorded, capsys):
    recorded(SLOW)
    status, text = run(capsys, "--torch-version", "2.10", "--strict")
    assert status == 0
    assert "good to know" in text


def test_a_missing_kernel_names_the_version_that_has_it(recorded, capsys):
    recorded(call("native_group_norm", packed(4)), call("_linalg_eigh", packed(4)))
    status, text = run(capsys, "--torch-version", "2.13")
    assert status == 1
    assert "use torch 2.14.0 or later, which has a kernel" in " ".join(text.split())


def test_an_operator_of_another_library_is_not_judged(recorded, capsys):
    recorded(STRANGE)
    status, text = run(capsys)
    assert status == 0
    assert "not judged: torchvision::nms (1 call)" in text
    assert run(capsys, "--strict")[0] == 1


def test_json(recorded, capsys):
    recorded(MISSING, SOUND)
    status, text = run(capsys, "--torch-version", "2.14", "--format", "json", "--calls")
    report = json.loads(text)
    assert status == 1
    assert report["torch"] == "2.14.1"
    assert report["operators"] == 2
    assert [finding["id"] for finding in report["findings"]] == ["no-kernel"]
    assert report["findings"][0]["places"] == [
        {"module": "unet.x", "line": "m.py:1", "stage": "denoise", "calls": 1}
    ]
    assert report["calls"][0]["arguments"]["self"]["strides"] == [4, 1]
    assert {trap["id"] for trap in report["unseen"]} >= {"first-call", "half-precision-overflow"}


def test_the_committed_schema_is_the_codes():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    command = "python -m tools.record_schema mps-check > docs/mps-check.schema.json"
    assert make_mps_check_schema() == SCHEMA, command
    described = set(SCHEMA["$defs"]["OperatorCall"]["properties"]) - {"times"}
    assert described == {field.name for field in dataclasses.fields(OperatorCall)}


@pytest.mark.parametrize("with_calls", [(), ("--calls",)], ids=["brief", "calls"])
@pytest.mark.parametrize(
    ("calls", "version"),
    [((CAUSAL, SLOW), "2.10.0"), ((MISSING, STRANGE, SOUND, NESTED), "2.14"), ((SOUND,), "2.13")],
    ids=["wrong", "missing", "sound"],
)
def test_the_json_is_valid(calls, version, with_calls, recorded, capsys):
    recorded(*calls)
    words = ("--torch-version", version, "--format", "json", *with_calls)
    report = json.loads(run(capsys, *words)[1])
    VALIDATOR.validate(report)
    assert ("calls" in report) == bool(with_calls)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format_version",), 2),
        (("surprise",), 1),
        (("steps",), 0),
        (("macos",), 26.1),
        (("findings", 0, "effect"), "bad"),
        (("findings", 0, "certainty"), "rumour"),
        (("findings", 0, "sources"), []),
        (("findings", 0, "places"), []),
        (("findings", 0, "places", 0, "stage"), "thinking"),
        (("findings", 0, "places", 0, "calls"), 0),
        (("unjudged",), {"torchvision::nms": "often"}),
        (("unseen", 0, "why"), None),
        (("calls", 0, "arguments"), []),
        (("calls", 0, "arguments", "self", "strides"), "packed"),
        (("calls", 0, "times"), 0),
    ],
)
def test_damaged_json_is_refused(path, value, recorded, capsys):
    recorded(MISSING, SOUND)
    words = ("--torch-version", "2.14", "--format", "json", "--calls")
    report = json.loads(run(capsys, *words)[1])
    VALIDATOR.validate(report)
    damaged = inner = copy.deepcopy(report)
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    assert not VALIDATOR.is_valid(damaged)


@pytest.mark.parametrize("key", ["format_version", "torch", "findings", "unjudged", "unseen"])
def test_json_without_a_key_is_refused(key, recorded, capsys):
    recorded(MISSING)
    report = json.loads(run(capsys, "--torch-version", "2.14", "--format", "json")[1])
    del report[key]
    assert not VALIDATOR.is_valid(report)


def test_markdown(recorded, capsys):
    recorded(MISSING)
    status, text = run(capsys, "--torch-version", "2.14", "--format", "markdown")
    assert status == 1
    assert "| `aten::linalg_eig` | raises an exception" in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--torch-version", "1.0"], "nothing is known of this version"),
        (["--macos", "Tahoe"], "--macos is no version"),
        (["--size", "big"], "--size cannot be used"),
        (["--calls"], "--calls needs JSON"),
        (["--meta"], "--meta is for a subject"),
        (["--steps", "0"], "--steps cannot be used; got: 0; expected: a whole number, 1 to 10000"),
    ],
)
def test_what_cannot_be_used_is_status_2(words, complaint, capsys):
    assert main(["mps-check", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_subject_of_its_own_is_recorded(capsys):
    words = [
        "--subject",
        "tests.support.mps_check_subjects:sound",
        "--steps",
        "1",
        "--torch-version",
        "2.14",
        "--macos",
        "26.1",
        "--chip",
        "Apple M4",
    ]
    status, text = run(capsys, *words, "--format", "json")
    report = json.loads(text)
    assert status == 0
    assert (report["chip"], report["limits"][:14]) == ("Apple M4", "reports up to ")
    VALIDATOR.validate(report)
    assert report["model"] == "tests.support.mps_check_subjects:sound"
    assert report["findings"] == []
    assert torch.backends.mps.is_available.__module__.startswith("torch")


def test_a_subject_that_raises_is_one_message_and_no_finding(capsys):
    assert main(["mps-check", "--subject", "tests.support.mps_check_subjects:raises"]) == 2
    said = capsys.readouterr().err
    assert "mps_check_subjects:raises made no pipeline" in said
    assert "RuntimeError: boom" in said
    assert "Traceback" not in said
