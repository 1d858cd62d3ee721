"""``sdperf external check`` as it is typed."""

import sys
from pathlib import Path

import pytest

from sdperf.cli import main
from tests.support import external_toy

TOY = f"{sys.executable} -S {Path(external_toy.__file__)}"


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ("", 0, ["toy 1.2.3: hashes on cpu, in u8", "steps, size, threads", "keeps the contract"]),
        ("--fault other-seed", 1, ["BROKEN  seeds and prompts differ", "breaks 1 clause of the"]),
        ("--fault crash", 1, ["BROKEN  the contract", "exit code 7", "out of crayons"]),
    ],
)
def test_a_program_is_checked(capsys, more, status, said):
    assert main(["external", "check", f"{TOY} {more}", "--size", "64x64"]) == status
    told = capsys.readouterr().out
    for words in said:
        assert words in " ".join(told.split()) or words in told
    assert max(map(len, told.splitlines())) <= 100


def test_what_cannot_be_started_is_one_message(capsys):
    assert main(["external", "check", "no-such-program --at all"]) == 2
    assert main(["external", "check", "external:"]) == 2
    assert main(["external", "check", f"{TOY} --fault version"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "no-such-program: No such file or directory" in lines[0]
    assert "external:COMMAND, external:NAME=COMMAND" in lines[1]
    assert "another version of the protocol" in lines[2]
