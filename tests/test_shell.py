"""A text that knows its commands is a text like any other to all but the printer."""

import json
import pickle

from sdperf.judging.settling import Typed, name_baselines, suggest_repeat
from sdperf.shell import join_command, join_step, list_commands


def test_a_step_is_written_and_sent_like_its_text():
    step = join_step("next: ", join_command(["pytest", "a b"]))
    assert step == "next: pytest 'a b'"
    assert json.dumps([step]) == json.dumps(["next: pytest 'a b'"])
    assert list_commands(pickle.loads(pickle.dumps(step))) == (("pytest", "'a b'"),)
    assert list_commands("pytest a") == ()


def test_a_suggested_command_is_known_as_one():
    step = suggest_repeat("a.py::test[it's a]", None, Typed(options=("--sd-engine", "onnx")))
    (words,) = list_commands(step)
    assert " ".join(words) == step


def test_a_folder_of_baselines_becomes_part_of_the_known_command():
    step = name_baselines(
        "sdperf baseline accept --reason TEXT keeps these images", Typed(baselines="it's mine")
    )
    (words,) = list_commands(step)
    assert step == f"{' '.join(words)} keeps these images"
    assert words[-2:] == ("--reason", "TEXT")


def test_bytes_that_are_no_text_are_quoted_too():
    assert join_command(["\udcff"]) == "\"$(printf '%b' '\\0377')\""
    assert join_command(["\ud800"]) == "\"$(printf '%b' '\\0077')\""
