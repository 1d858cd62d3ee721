import argparse
import ast
from pathlib import Path

import pytest

import sdperf
from sdperf.ab.sides.sides import SideError
from sdperf.cli import COMMANDS, main
from sdperf.cli.shared.spelling import WITH_SETTINGS, make_speller, respell
from sdperf.errors import ConfigurationError, GenerationError, SdperfError
from sdperf.settings import OPTIONS, SWITCHES
from tests.test_help import PARSERS

OF_PYTEST = {option.name for option in (*OPTIONS, *SWITCHES)}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("give --sd-model a folder", "give --model a folder"),
        ("raise --sd-max-slowdown 3", "raise --max-slowdown 3"),
        ("--sd-engine torch, or a smaller --sd-size", "engine=torch, or a smaller size="),
        ("one --sd-size for each run", "one size= for each run"),
        ("--sd-size 64x64, --sd-scheduler X", "size=64x64, scheduler=X"),
        ("leave --sd-trace out", "with pytest benchmarks: leave --sd-trace out"),
        ("git fetch", "git fetch"),
        (
            "name one; --sd-html X writes it",
            "name one; with pytest benchmarks: --sd-html X writes it",
        ),
        (None, None),
    ],
)
def test_an_option_is_named_as_the_command_names_it(hint, expected):
    error = ConfigurationError("--sd-model is wrong", got=("--sd-model",), hint=hint)
    told = respell(error, {"model", "max_slowdown"}, {"engine", "size", "scheduler"})
    assert told.hint == expected
    assert told.what == "--model is wrong"
    assert told.got == ("--sd-model",)


@pytest.mark.parametrize("name", PARSERS)
def test_what_argparse_keeps_under_an_options_name_is_that_option(name):
    for action in PARSERS[name]._actions:
        if action.dest in OF_PYTEST and action.option_strings:
            assert f"--{action.dest.replace('_', '-')}" in action.option_strings


def test_the_commands_with_settings_are_those_that_take_keys():
    takes = {
        name.split()[1]
        for name, parser in PARSERS.items()
        for action in parser._actions
        if "KEY=VALUE" in str(action.metavar)
    }
    assert takes == set(WITH_SETTINGS) <= set(COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "red apple", "-o", "a.png"),
        ("mps-check",),
        ("tune",),
        ("quality", "calibrate"),
        ("ab", "--a", "steps=1", "--b", "steps=2"),
    ],
)
def test_a_missing_model_is_answered_with_the_commands_own_option(
    words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--model", "/nowhere/model"]) == 2
    shown = capsys.readouterr().err
    assert "do: give --model a diffusers folder" in shown
    assert "--sd-" not in shown


def test_a_worker_that_dies_under_a_comparison_names_pytest_for_the_debugger():
    error = ConfigurationError("died", hint="run the case alone with --sd-in-process to see")
    told = respell(error, {"model"}, {"engine"})
    assert told.hint.startswith("with pytest benchmarks: run the case alone with --sd-in-process")


@pytest.mark.parametrize("command", WITH_SETTINGS)
def test_what_a_step_or_a_trial_failed_of_is_told_with_the_commands_own_options(command):
    parsed = argparse.Namespace(command=command, model=None, min_psnr=None)
    error = GenerationError("no room", hint="a smaller --sd-size, or give --sd-model another")
    told = make_speller(parsed)(error)
    assert told == "no room; do: a smaller size=, or give --model another"


def list_unspelled(source, errors):
    """Return the lines that turn an error with options of pytest into text as it stands."""
    lines = []
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or handler.name is None:
            continue
        if not {one.id for one in ast.walk(handler.type) if isinstance(one, ast.Name)} & errors:
            continue
        for node in ast.walk(handler):
            shown = ()
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("str", "print"):
                shown = node.args
            elif isinstance(node, ast.FormattedValue):
                shown = (node.value,)
            lines += [
                node.lineno for one in shown if isinstance(one, ast.Name) and one.id == handler.name
            ]
    return lines


def test_the_rooms_of_commands_tell_no_error_as_pytest_would():
    errors = {one.__name__ for one in (SdperfError, SideError, *SdperfError.__subclasses__())}
    package = Path(sdperf.__file__).parent
    read = 0  # a RecordError names a file, no option
    for room in ("bisect", "tune", "cli"):
        for path in (package / room).rglob("*.py"):
            read += 1
            source = path.read_text("utf-8")
            assert not list_unspelled(source, errors - {"RecordError"}), path
    assert read > 30
    planted = "try:\n    f()\nexcept (OSError, UnfitError) as error:\n    reason = {}\n"
    for told in ("str(error)", "f'no: {error}'", "print(error)"):
        assert list_unspelled(planted.replace("{}", told, 1), errors) == [4]
    assert list_unspelled(planted.format("spell(error)"), errors) == []
