import pytest

from sdperf.cli import _WITH_SETTINGS, COMMANDS, main
from sdperf.cli.shared.spelling import respell
from sdperf.errors import ConfigurationError
from sdperf.plugin.option_table import OPTIONS, SWITCHES
from tests.test_help import PARSERS

OF_PYTEST = {option.name.replace("-", "_") for option in (*OPTIONS, *SWITCHES)}


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
    assert takes == set(_WITH_SETTINGS) <= set(COMMANDS)


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
