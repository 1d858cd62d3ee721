"""The adapters of docs/external.md run as they stand there, and keep the contract."""

import itertools
import re
import sys
from pathlib import Path

import pytest

from sdperf.engines.external.check.trying import CheckBench, CheckRequest, check_program
from sdperf.engines.external.naming import NamedCommand
from sdperf.engines.external.protocol import ACCEPTED
from sdperf.engines.external.template import NAMES
from tests.support import external_toy

PAGE = (Path(__file__).parents[1] / "docs/external.md").read_text(encoding="utf-8")
PROMPT = 'a "red"\\ fox, "seed":3; `ls` $HOME \\\\" \\u0041 漢字'
DRAW = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(external_toy.__file__).parent)!r})
from external_toy import Toy, encode_png
import argparse
prompt, seed, steps, width, height, out = sys.argv[1:]
Path(__file__).with_name("prompts").open("a").write(prompt + "\\n")
print("drawing", prompt)
toy = Toy(argparse.Namespace(fault="", clock=None, noise=""))
pixels = toy.draw(int(seed), prompt, int(steps), int(width), int(height))
Path(out).write_bytes(encode_png(int(width), int(height), pixels))
"""


def read_block(language):
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return block


def check(command):
    # A clock by which every picture takes as long: what a loaded machine does is no matter here.
    bench = CheckBench(itertools.count().__next__, lambda _: None, lambda _: None)
    result = check_program(CheckRequest(NamedCommand("page", command), prompt=PROMPT), bench)
    return {one.name: one.words for one in result.clauses if one.state == "broken"}, result


def test_the_adapter_in_python(tmp_path):
    script = tmp_path / "adapter.py"
    script.write_text(read_block("python"), encoding="utf-8")
    broken, result = check((sys.executable, str(script)))
    assert broken == {}
    assert result.facts.name == "noise"


def test_the_adapter_in_shell(tmp_path):
    script, draw = tmp_path / "draw.sh", tmp_path / "draw.py"
    script.write_text(read_block("sh"), encoding="utf-8")
    draw.write_text(DRAW, encoding="utf-8")
    command = ("env", f"DRAW={sys.executable} -S {draw}", "sh", str(script))
    broken, result = check(command)
    assert broken == {}
    assert result.facts.name == "draw.sh"
    prompts = set((tmp_path / "prompts").read_text(encoding="utf-8").splitlines())
    assert prompts == {PROMPT, f"{PROMPT}, at night"}
    assert len(read_block("sh").splitlines()) < 100


@pytest.mark.parametrize("name", [*ACCEPTED, *(f"{{{name}}}" for name in NAMES)])
def test_the_page_names_all_that_can_be_told(name):
    assert f"`{name}`" in PAGE
