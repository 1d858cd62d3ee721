"""A command line for each picture: what is put where, and what is said when it goes wrong."""

import sys
import time
from pathlib import Path

import pytest

from sdperf.engines.external.process import LastWords
from sdperf.engines.external.protocol import GivenPicture
from sdperf.engines.external.template import TemplateProgram, fill_places, is_template
from sdperf.errors import EngineError, WorkerError
from sdperf.record.workload import ImageRequest, Workload

DRAW = """
import sys
sys.path.insert(0, {folder!r})
from external_toy import Toy, encode_png
import argparse
parser = argparse.ArgumentParser()
for name in ("prompt", "seed", "steps", "out", "fault", "picture", "mask", "strength"):
    parser.add_argument("--" + name, default="")
asked = parser.parse_args()
print("drawing", repr(asked.prompt), file=sys.stderr)
if asked.fault == "fail":
    sys.exit(4)
if asked.fault == "hang":
    import time
    time.sleep(600)
toy = Toy(argparse.Namespace(fault="", clock=None, noise=""))
toy.salt = asked.strength + "".join(
    open(path, "rb").read().hex() for path in (asked.picture, asked.mask) if path
)
pixels = toy.draw(int(asked.seed), asked.prompt, int(asked.steps or 2), 64, 48)
import os
if asked.fault == "fifo":
    os.mkfifo(asked.out)
elif asked.fault == "folder":
    os.mkdir(asked.out)
elif asked.fault == "link":
    os.symlink(__file__, asked.out)
elif asked.fault != "no-file":
    open(asked.out, "wb").write(b"" if asked.fault == "empty" else encode_png(64, 48, pixels))
"""
WORKLOAD = Workload("hashes", ("a fox",), 3, None, width=64, height=48)


@pytest.fixture
def make(tmp_path):
    script = tmp_path / "draw.py"
    support = Path(__file__).parents[2] / "support"
    script.write_text(DRAW.format(folder=str(support)), encoding="utf-8")
    programs = []

    def make_program(*more, limit_s=60.0):
        words = [sys.executable, str(script), "--prompt={prompt}", "--seed", "{seed}"]
        words += ["--steps", "{steps}", "--out", "{out}", *more]
        programs.append(TemplateProgram("draw", words, limit_s))
        return programs[-1]

    yield make_program
    for program in programs:
        program.kill()


def draw(program, *images):
    return program.generate(WORKLOAD, images, 1)


def test_each_picture_is_a_process_of_its_own(make):
    program = make()
    assert program.facts.accepts == ("steps",)
    fox, again, other = draw(
        program, ImageRequest("fox", 1), ImageRequest("fox", 1), ImageRequest("fox", 2)
    )
    assert fox.png == again.png != other.png
    assert fox.pixels.shape == (48, 64, 3)
    assert program.read_peak_bytes() > 2**20
    assert program.read_cpu_s() > 0
    assert program.stop() == 0


def test_no_shell_reads_a_prompt(make, tmp_path):
    spy = tmp_path / "spy"
    prompts = [
        f"; touch {spy}",
        f"$(touch {spy})",
        f"`touch {spy}`",
        "{seed} {out}",
        "--out /x",
        "",
    ]
    drawn = draw(make(), *(ImageRequest(prompt, 1) for prompt in prompts))
    assert len({one.png for one in drawn}) == len(prompts)
    assert not spy.exists()
    assert fill_places(["{prompt} {seed}"], {"prompt": "{seed}", "seed": "7"}) == ["{seed} 7"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fail", ["draw failed", "exit code 4", "it said: drawing 'fox'"]),
        ("no-file", ["ended without a picture", "No such file"]),
        ("fifo", ["ended without a picture", "it is no regular file"]),
        ("folder", ["ended without a picture", "it is no regular file"]),
        ("link", ["ended without a picture", "symbolic links"]),
        ("empty", ["what is no picture", "0 bytes"]),
    ],
)
def test_each_fault_is_one_message(make, fault, said):
    with pytest.raises(WorkerError) as raised:
        draw(make("--fault", fault), ImageRequest("fox", 1))
    for words in said:
        assert words in str(raised.value)


def test_words_that_are_read_late_are_waited_for(make, monkeypatch):
    read = LastWords._read

    def read_late(self):
        time.sleep(0.3)
        read(self)

    monkeypatch.setattr(LastWords, "_read", read_late)
    with pytest.raises(WorkerError, match="it said: drawing 'fox'"):
        draw(make("--fault", "fail"), ImageRequest("fox", 1))


def test_a_command_that_hangs_is_ended(make):
    with pytest.raises(WorkerError, match="outlived the time limit of a picture; got: no end"):
        draw(make("--fault", "hang", limit_s=0.5), ImageRequest("fox", 1))


def test_a_command_line_needs_places_for_what_decides_a_picture():
    assert is_template(["draw", "{out}"])
    assert not is_template(["draw", "{python}"])
    with pytest.raises(EngineError, match="no place for what decides a picture"):
        TemplateProgram("draw", ["draw", "{prompt}", "{out}"], 60.0)


def test_a_size_that_nobody_said_is_asked_for(make):
    unsized = Workload("hashes", ("a fox",), 3, None)
    with pytest.raises(EngineError, match="--sd-size"):
        make("{width}").generate(unsized, [ImageRequest("fox", 1)], 1)


def test_a_picture_to_start_from_is_a_file(make):
    program = make(
        *("--picture", "{picture}", "--mask", "{mask}", "--strength", "{strength}"),
    )
    assert program.facts.accepts == ("steps", "picture", "mask", "strength")
    givens = [
        GivenPicture(b"house", b"middle", 0.5),
        GivenPicture(b"tree", b"middle", 0.5),
        GivenPicture(b"house", b"edge", 0.5),
        GivenPicture(b"house", b"middle", 0.6),
    ]
    fox = ImageRequest("fox", 1)
    drawn = [
        program.generate(WORKLOAD, [fox], 1, 1, given)[0].png for given in (*givens, givens[0])
    ]
    assert len(set(drawn)) == len(givens)
    assert drawn[-1] == drawn[0]


@pytest.mark.parametrize(
    ("place", "given", "option"),
    [
        ("picture", None, "--sd-task image-to-image"),
        ("mask", GivenPicture(b"house"), "--sd-task inpaint"),
        ("strength", GivenPicture(b"house"), "--sd-strength"),
    ],
)
def test_what_a_place_needs_and_nobody_said_is_asked_for(make, place, given, option):
    program = make(f"--{place}", f"{{{place}}}")
    with pytest.raises(EngineError, match=f"asks for the {place}, which nobody said") as raised:
        program.generate(WORKLOAD, [ImageRequest("fox", 1)], 1, 1, given)
    assert option in str(raised.value)
