import os
import sys

import pytest

from sdperf.engines.catalogue import parse_engine, parse_engines
from sdperf.engines.external.naming import (
    NamedCommand,
    divide_engines,
    list_alternatives,
    parse_external,
    unescape_choices,
)
from sdperf.engines.external.program import choose_environment
from sdperf.engines.external.starting import read_engine, start_program
from sdperf.errors import ConfigurationError, WorkerError
from sdperf.record.workload import is_external, name_engine


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("external:{python} tools/My Draw.py", "my"),
        ("external:{python} 'tools/My Draw.py' -x", "my-draw"),
        ("external:/opt/mflux/bin/python3.12 -m adapters.mflux --q 8", "mflux"),
        ("external:sd-cli --prompt {prompt}", "sd-cli"),
        ("external:bash draw.sh", "draw"),
        ("external:{python}", "python"),
        ("external:fast=sd-cli --threads 4", "fast"),
    ],
)
def test_a_command_gets_a_short_name(text, name):
    named = parse_external(text)
    assert named.name == name
    assert parse_external(named.engine) == named
    assert name_engine(named.engine) == f"external-{name}"


def test_a_table_of_a_file_names_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sdperf.toml").write_text(
        '[external.mflux]\ncommand = "/envs/mflux/bin/python mflux_adapter.py"\n'
        '[external.words]\ncommand = ["a b", "c"]\n'
    )
    assert parse_external("external:mflux").command == (
        "/envs/mflux/bin/python",
        "mflux_adapter.py",
    )
    assert parse_external("external:sdperf.toml:words").command == ("a b", "c")
    with pytest.raises(ValueError, match=r"a table \[external.other\] .* has: mflux, words"):
        parse_external("external:other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("external.x = 1", r"a table \[external.x\]"),
        ("[external]\nx = 3", r"a table \[external.x\]"),
        ("[external.x]\ncommand = 3", "command = "),
        ("[external.x]\ncommand = []", "command = "),
        ("[external.x]\ncommand = 'a'\nshell = true", "nothing but command"),
        ("[external.x", "a file in TOML"),
        ("[other]\n", "has: none"),
    ],
)
def test_a_table_that_cannot_be_used_is_said(tmp_path, text, said):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ValueError, match=said):
        parse_external(f"external:{tmp_path}/p.toml:x")


@pytest.mark.parametrize(
    "text", ["external:", "external: ", "external:'a", "external:x=", "external:/none.toml:x"]
)
def test_what_names_no_program_is_said(text):
    with pytest.raises(ConfigurationError, match="external"):
        read_engine(text)


def test_a_table_that_never_ends_or_holds_too_much_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ValueError, match="it is no regular file"):
        parse_external(f"external:{tmp_path}/pipe.toml:x")
    (tmp_path / "long.toml").write_text(f"[external.x]\ncommand = ['draw', '{'a' * 4096}']\n")
    with pytest.raises(ValueError, match="a command of at most 4096 characters"):
        parse_external(f"external:{tmp_path}/long.toml:x")


def test_commas_in_quotes_belong_to_the_command():
    assert divide_engines("torch,external:draw --size '1,2' , onnx") == [
        "torch",
        "external:draw --size '1,2'",
        "onnx",
    ]
    assert not is_external("onnx")
    assert name_engine("onnx") == "onnx"


def test_another_pythons_program_starts_without_our_packages():
    ours = {"PYTHONPATH": "/ours", "HOME": "/home"}
    assert choose_environment(["/envs/a/bin/python", "a.py"], ours) == {"HOME": "/home"}
    assert choose_environment(["{python}", "a.py"], ours) == ours


def test_a_choice_in_a_command_is_a_program_for_each_value():
    found = list_alternatives("external:mflux=draw --quantize {none|q4|q8} {out}")
    assert [one.name for one in found] == ["mflux-none", "mflux-q4", "mflux-q8"]
    assert found[1].command == ("draw", "--quantize", "q4", "{out}")
    both = list_alternatives("external:d=draw {a|b} --x={1|2}")
    assert [one.engine for one in both] == [
        "external:d-a-1=draw a --x=1",
        "external:d-a-2=draw a --x=2",
        "external:d-b-1=draw b --x=1",
        "external:d-b-2=draw b --x=2",
    ]
    assert list_alternatives("external:draw {prompt}") == [parse_external("external:draw {prompt}")]
    engines = parse_engines("torch,external:mflux=draw --quantize {q4|q8}")
    assert [name_engine(one) for one in engines] == [
        "torch",
        "external-mflux-q4",
        "external-mflux-q8",
    ]


def test_a_choice_is_refused_where_one_program_is_meant():
    with pytest.raises(ValueError, match=r"one program: choose one of \{q4\|q8\}"):
        parse_engine("external:mflux=draw --quantize {q4|q8}")
    with pytest.raises(ConfigurationError, match=r"choose one of \{q4\|q8\}"):
        read_engine("external:mflux=draw --quantize {q4|q8}")
    with pytest.raises(ValueError, match="choices that make different names: two make m-q4"):
        parse_engines("external:m=draw {q4|Q4}")
    with pytest.raises(ValueError, match="at most 40 letters"):
        parse_engines(f"external:m=draw {{{'x' * 40}|y}}")
    assert [one.name for one in list_alternatives("external:m=draw {|--fast}")] == [
        "m-none",
        "m-fast",
    ]


def test_choices_are_counted_before_they_are_made():
    with pytest.raises(ValueError, match=r"at most 32 programs .* not 1048576"):
        list_alternatives("external:m=draw " + " ".join(f"{{a{n}|b}}" for n in range(20)))
    assert len(list_alternatives("external:m=draw {a|b|c|d} {1|2|3|4} {x|y}")) == 32


def test_one_choice_in_several_places_is_one_axis():
    found = list_alternatives("external:m=draw --q={q4|q8}/{q4|q8} --file m-{q4|q8}.bin {a|b}")
    assert [one.engine for one in found] == [
        "external:m-q4-a=draw --q=q4/q4 --file m-q4.bin a",
        "external:m-q4-b=draw --q=q4/q4 --file m-q4.bin b",
        "external:m-q8-a=draw --q=q8/q8 --file m-q8.bin a",
        "external:m-q8-b=draw --q=q8/q8 --file m-q8.bin b",
    ]


@pytest.mark.parametrize(
    "word",
    [
        "f() { cat | sort; }; f",
        '{print|"sort"}',
        "{{q4|q8}}",
        "{{ name | upper }}",
        "{a; b|c}",
    ],
)
def test_what_is_code_or_escaped_is_no_choice(word):
    engine = NamedCommand("m", ("sh", "-c", word)).engine
    (found,) = list_alternatives(engine)
    assert found.command == ("sh", "-c", word)
    assert read_engine(engine) == found


def test_doubled_braces_reach_the_program_as_single_ones():
    assert unescape_choices("--as={{q4|q8}}") == "--as={q4|q8}"
    assert unescape_choices("{{ name | upper }}") == "{{ name | upper }}"
    script = "import sys; sys.exit('got ' + sys.argv[1] + ' alone')"
    named = NamedCommand("m", (sys.executable, "-c", script, "{{q4|q8}}"))
    with pytest.raises(WorkerError, match=r"got \{q4\|q8\} alone"):
        start_program(named, 60.0)
