"""A text that knows its commands is a text like any other to all but the printer."""

import ast
import io
import json
import pickle
import re
import shlex
from pathlib import Path

import sdperf
from sdperf.cli.shared.spelling import respell
from sdperf.errors import ConfigurationError
from sdperf.judging.settling import Typed, name_baselines, suggest_repeat
from sdperf.report.text.wrapping import format_error
from sdperf.shell import join_command, join_step, list_commands

PACKAGE = Path(sdperf.__file__).parent
COMMAND = re.compile(r"(?<![\w./-])(?:sdperf|pytest|pip install|git|hf|mkdir) ")
KNOWN_WORDS = {"choice.extra", "extra", "needed[1]"}
"""Names of the package's extras, which need no quotes beside those that are written."""


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


def test_an_error_hands_its_command_over_to_the_printer_whatever_its_words():
    """A lower-case word with no option before it would end a command that is found in prose."""
    step = "first " + join_command(["sdperf", "sweep", "numpy", "it's", "2 .. 1"]) + " once more"
    error = ConfigurationError("no", got="https://TOKEN@host/x", hint=step)
    (_, got, told) = pickle.loads(pickle.dumps(error)).list_parts()
    assert got == "got: https://***@host/x"
    assert told == f"do: {step}"
    assert list_commands(told) == (("sdperf", "sweep", "numpy", "'it'\"'\"'s'", "'2 .. 1'"),)
    assert list_commands(respell(error, (), ()).list_parts()[-1]) == list_commands(told)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_command_in_an_error_is_copied_from_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    words = ["pytest", "tests", "of mine", *["torch", "cpu"] * 10, "--benchmark-compare"]
    error = ConfigurationError("no", hint=join_command(words))
    printed = format_error("pytest", error.list_parts(), Terminal())
    copied = printed.partition("do: ")[2].replace("\\\n", "")
    assert shlex.split(copied) == words


def test_no_message_writes_a_word_from_outside_into_a_command_by_hand():
    """Only `join_command` quotes it, and lets the printer keep it on its line."""
    faults = []
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if "hint" in source else ():
            if isinstance(node, ast.keyword) and node.arg == "hint":
                faults += [f"{file}:{one.lineno}" for one in find_made_by_hand(node.value)]
    assert not faults, "quote with sdperf.shell.join_command: " + ", ".join(faults)


def find_made_by_hand(tree):
    """List the formatted texts in which a command has a word that is no constant of the code."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        command = False
        for part in node.values:
            if isinstance(part, ast.Constant):
                found = COMMAND.split(part.value)
                command = (command or len(found) > 1) and not re.search(r"[;:,)]", found[-1])
            elif command and not is_known(part.value):
                yield node
                break


def is_known(value):
    """Whether a value is one of the package's names: a setting, a constant, an extra."""
    text = ast.unparse(value)
    return bool(re.match(r"_?[A-Z]", text)) or text in KNOWN_WORDS


def test_a_command_made_by_hand_is_found():
    bad = ast.parse("x(hint=f'pip install {name}')")
    assert list(find_made_by_hand(bad))
    for good in ("f'pip install {EXTRA}'", "f'{name}: sdperf doctor'", "f'sdperf doctor; {name}'"):
        assert not list(find_made_by_hand(ast.parse(good)))
