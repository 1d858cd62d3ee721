"""``sdperf external check`` as it is typed."""

import contextlib
import errno
import os
import sys
from pathlib import Path

import pytest

from sdperf.cli import main
from sdperf.engines.external.starting import refuse_missing_script
from sdperf.errors import EngineError
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
    assert main(["external", "check", f"{sys.executable} -u nope.py {{prompt}} {{out}}"]) == 2
    assert main(["external", "check", "sh nope.sh --at all"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert "no-such-program: No such file or directory" in lines[0]
    assert "external:COMMAND, external:NAME=COMMAND" in lines[1]
    assert "another version of the protocol" in lines[2]
    assert "nope.py: No such file or directory" in lines[3]
    assert "nope.sh: No such file or directory" in lines[4]


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ("python nope.py", "nope.py"),
        ("/usr/bin/python3.11 -I -u nope.py {out}", "nope.py"),
        ("sh ./nope.sh", "./nope.sh"),
        ("python -m nope", None),
        ("python -W error nope.py", None),
        ("sh -c nope", None),
        ("sh {out}", None),
        ("sh +x nope.sh", None),
        ("python +x", "+x"),
        ("bash mytool", None),
        ("python mytool", "mytool"),
        ("bash ./mytool", "./mytool"),
        ("bash nope", "nope"),
        ("python", None),
        ("nope nope.py", None),
        (f"python {__file__} nope.py", None),
    ],
)
def test_only_a_word_that_is_to_be_run_is_looked_for(words, script, tmp_path, monkeypatch):
    (tmp_path / "mytool").write_text("exit 0\n")
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{tmp_path}")
    told = contextlib.nullcontext() if script is None else pytest.raises(EngineError)
    with told as refused:
        refuse_missing_script(words.split())
    assert script is None or refused.value.got == f"{script}: No such file or directory"


@pytest.mark.parametrize("program", ["bash", "python"])
def test_a_scripts_name_that_no_disk_can_hold_is_refused_in_one_message(program):
    with pytest.raises(EngineError) as refused:
        refuse_missing_script([program, "n" * 300])
    assert refused.value.got == f"{'n' * 300}: {os.strerror(errno.ENAMETOOLONG)}"


def test_a_script_that_may_exist_is_left_to_its_interpreter(monkeypatch):
    def deny(path):
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "stat", deny)
    refuse_missing_script(["python", "locked/nope.py"])
