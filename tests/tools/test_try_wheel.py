"""Each check of the tool must be able to fail: programs that end wrongly stand in for the real."""

import subprocess

import pytest

from tests.test_help import PARSERS
from tools import try_wheel
from tools.try_wheel import COMMANDS, FILES, Try, list_tries, make_repository, run, try_all

WORDS = [name.split()[1:] for name in PARSERS]


@pytest.fixture
def environment(tmp_path):
    """Its programs print what the variable SAYS holds and end with STATUS."""
    programs = tmp_path / "environment" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "pytest", "sdperf"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$SAYS"\nexit "$STATUS"\n')
        (programs / name).chmod(0o755)
    return programs.parent


@pytest.fixture
def ending(monkeypatch):
    def set_ending(says, status):
        monkeypatch.setenv("SAYS", says)
        monkeypatch.setenv("STATUS", str(status))

    return set_ending


def test_each_check_passes_what_ends_well_and_fails_what_does_not(environment, ending, tmp_path):
    tries = list_tries(WORDS, environment)
    assert len(tries) > len(WORDS) + 10
    for tried in tries:
        assert tried.says, tried
        ending(tried.says, tried.status[0])
        assert run(tried, environment, tmp_path) is None
        ending(tried.says, max(tried.status) + 1)
        assert "expected " in run(tried, environment, tmp_path)
        ending("something else", tried.status[0])
        assert f"expected {tried.says!r}" in run(tried, environment, tmp_path)
        ending(f"{tried.says}\nTraceback (most recent call last):\n", tried.status[0])
        assert "expected no traceback" in run(tried, environment, tmp_path)


def test_a_command_that_does_not_end_is_a_fault(environment, tmp_path, monkeypatch):
    (environment / "bin/sdperf").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(try_wheel, "LIMIT_S", 0.1)
    assert run(Try(("sdperf",)), environment, tmp_path) == "did not end within 0 s"


def test_a_checkout_or_settings_on_the_path_do_not_help(environment, tmp_path, monkeypatch):
    (environment / "bin/sdperf").write_text("#!/bin/sh\nenv | grep -e ^HOME= -e /a/checkout\n")
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS", "SDPERF_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "/a/checkout")
    shown = run(Try(("sdperf",), says="never printed"), environment, tmp_path)
    assert "/a/checkout" not in shown
    assert f"HOME={tmp_path}" in shown


def test_every_command_of_the_wheel_is_typed(environment, tmp_path):
    found = {tried.words[1:-1] for tried in list_tries(WORDS, environment)}
    assert {(), ("ab",), ("tune",), ("history", "import"), ("baseline", "accept")} <= found


def test_the_wheel_names_its_own_commands(environment, ending, tmp_path, capsys, monkeypatch):
    ending('[[], ["trend"]]', 0)
    monkeypatch.setattr(
        try_wheel, "run", lambda tried, *_: "bad" if "trend" in tried.words else None
    )
    assert try_all(environment, tmp_path) == 1
    shown = capsys.readouterr().out
    assert "sdperf trend --help\nbad\n" in shown
    assert "sdperf compare" not in shown
    compile(COMMANDS, "COMMANDS", "exec")


def test_the_newcomers_own_test_sees_what_an_unused_plugin_imports(tmp_path):
    make_repository(tmp_path)
    assert {*FILES, "benchmarks"} == {path.name for path in tmp_path.iterdir()}
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_own.py"]
    for before, status in ((), 0), (("-p", "numpy"), 4), (("-p", "PIL"), 1):
        done = subprocess.run(
            [try_wheel.sys.executable, *command, *before], cwd=tmp_path, capture_output=True
        )
        assert done.returncode == status, done.stdout
