"""Versions of packages in a program's own environment: sdperf's own stays as it is."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.ab.sides.present import read_present_environment
from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.bisect.programs import (
    ProgramVersions,
    find_interpreter,
    find_program,
    read_environment,
)
from sdperf.cli import main
from sdperf.cli.shared import stepping
from sdperf.engines.external.naming import NamedCommand, parse_external
from sdperf.errors import ConfigurationError
from sdperf.record.workload import Variant, Workload
from tests.ab.sides.test_environments import pretend_pip
from tests.support import external_toy

TOY = Path(external_toy.__file__)
WRAPPED = """
import planted_sd, runpy, sys
sys.argv += ["--noise", "new" if planted_sd.VERSION >= "1.2" else ""]
runpy.run_path({toy!r}, run_name="__main__")
"""


def case(engine):
    return MatrixCase(variant=Variant(engine=engine))


def test_the_environment_is_the_programs_where_its_command_names_a_python_of_its_own():
    own = "external:draw=/envs/mflux/bin/python3.12 draw.py"
    assert find_program([case(own), case(own)]) == parse_external(own)
    assert find_program([case("external:draw={python} draw.py")]) is None
    assert find_program([case("torch")]) is None
    assert find_program([case(own), case("torch")]) is None
    assert find_interpreter(parse_external(own)) == "/envs/mflux/bin/python3.12"


@pytest.mark.parametrize(
    "command",
    [
        "{} draw.py",
        "env A=1 B= {} draw.py",
        "env -i -u HOME A=1 {} draw.py --backend python",
        "nice -n 5 {} draw.py",
        "nice -5 taskset -c 0-3 {} draw.py",
        "/usr/bin/env nohup {} -m draw",
        "timeout -k 5 600 numactl --cpunodebind=0 -m 0 {} draw.py",
    ],
)
def test_a_python_is_found_as_the_program_also_after_a_prefix(command):
    words = tuple(command.format("envs/python/bin/python").split())
    assert find_interpreter(NamedCommand("draw", words)) == "envs/python/bin/python"


@pytest.mark.parametrize(
    "command",
    [
        "sd-cli --model python.gguf",
        "mflux-generate --backend python",
        "docker run img python a.py",
        "ssh host python3 a.py",
        "nice mflux-generate --backend python",
        "taskset python",
        "env A=1",
    ],
)
def test_a_python_that_is_no_program_of_the_command_is_refused(command):
    named = NamedCommand("draw", tuple(command.split()))
    with pytest.raises(ConfigurationError, match="draw starts no Python whose packages could"):
        find_interpreter(named)


def test_an_interpreter_is_asked_for_what_it_holds(tmp_path):
    present = read_present_environment()
    found = read_environment(sys.executable)
    assert (found.python, found.version) == (sys.executable, sys.version)
    assert set(present.folders) <= {*found.folders, *sys.path}
    assert found.folders
    with pytest.raises(ConfigurationError, match=r"cannot be asked.*no-such/python: no such"):
        read_environment("no-such/python")
    (tmp_path / "python").write_text("#!/bin/sh\necho no\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ConfigurationError, match="cannot be asked for its packages"):
        read_environment(str(tmp_path / "python"))


def test_a_step_changes_the_programs_interpreter_and_nothing_else(tmp_path):
    store = EnvironmentStore(tmp_path / "store", read_environment(sys.executable), run=pretend_pip)
    named = NamedCommand("draw", ("env", "A=1", sys.executable, "draw.py"))
    template = Side("", Workload("embedded", ("fox",), 2, None))
    versions = ProgramVersions(store, template, named=named, word=sys.executable)
    with versions.opened("planted-sd==1.2") as side:
        assert side.interpreter is None
        assert side.label == "planted-sd 1.2"
        variant = side.variant_for(case(named.engine))
        changed = parse_external(variant.engine)
    assert (changed.name, changed.command[:2], changed.command[3:]) == (
        "draw",
        ("env", "A=1"),
        ("draw.py",),
    )
    asked = "import planted_sd; print(planted_sd.VERSION)"
    said = subprocess.run(
        [changed.command[2], "-c", asked], capture_output=True, text=True, check=True, cwd="/"
    )
    assert said.stdout.strip() == "1.2"


@pytest.mark.long
def test_the_version_that_changes_a_programs_pictures_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("draw.py").write_text(WRAPPED.format(toy=str(TOY)))
    opened = stepping.open_store
    asked = []

    def open_store(pip_options, say, below=None):
        asked.append(below)
        return replace(opened(pip_options, say, below), run=pretend_pip)

    monkeypatch.setattr(stepping, "open_store", open_store)
    steps = [
        part
        for version in ("1.0", "1.1", "1.2", "1.3")
        for part in ("--python-package", f"planted-sd=={version}")
    ]
    settings = f"engine=external:toy={sys.executable} draw.py"
    sampling = "steps=2,guidance=none,size=64x64"
    status = main(
        [
            *("bisect", *steps, "--for", "image", "--set", settings, "--set", sampling),
            *("--guards", "off", "--pictures", "1", "--rounds", "1"),
        ]
    )
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert printed.out.splitlines()[0] == "first bad version: planted-sd 1.2"
    assert [below.python for below in asked] == [sys.executable]
    assert "--set 'engine=external:toy=" in Path("sdperf-bisect-planted-sd-1.2.md").read_text()
