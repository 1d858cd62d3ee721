"""A command that is printed can be copied: it stays on one line, or is continued like a shell's."""

import re
import shlex
import subprocess
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sdperf.report.text import wrapping
from sdperf.report.text.lines import wrap_line
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.shell import join_command, join_step

LONG = (
    "pytest 'benchmarks/test_latency.py::test_latency[bf16-async-1w]' --sd-model='my model' "
    "--sd-images=2 --sd-rounds=2 --sd-batch-rounds=1 --sd-processes 3 --sd-unwatched"
)


def copy(lines):
    """Return what a shell makes of lines that somebody copies."""
    return shlex.split("\n".join(lines).replace("\\\n", ""))


@pytest.mark.parametrize("command", ["sdperf resume", "sdperf history import FOLDER", "git status"])
@pytest.mark.parametrize("before", range(60, 100))
def test_a_short_command_stays_on_one_line(command, before):
    text = f"{'x' * 20} {'y' * (before - 21)} {command} goes on and measures nothing twice"
    lines = wrap_text(text, subsequent_indent="    ")
    assert any(command in line for line in lines)
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(" ".join(lines).split()) == text


@pytest.mark.parametrize("before", ["next: ", "", "what was seen before; next: "])
def test_a_long_command_is_continued_and_its_words_behind_are_not(before):
    lines = wrap_text(f"{before}{LONG} measures it alone", subsequent_indent="    ")
    assert max(map(len, lines)) <= WIDTH
    (first, *_), ends = lines, [line.endswith(" \\") for line in lines]
    assert first.startswith(before)
    assert any(ends)
    typed = copy([lines[0].removeprefix(before), *lines[1:]])
    assert typed == [*shlex.split(LONG), "measures", "it", "alone"]
    assert not any(line.endswith(" \\") for line in lines if "measures" in line)


def test_a_value_in_quotes_is_never_divided():
    command = f"sdperf ab --a 'one {'two ' * 12}three' --b 'four {'five ' * 12}six'"
    lines = wrap_text(f"next: {command}", subsequent_indent="    ")
    assert copy([lines[0].removeprefix("next: "), *lines[1:]]) == shlex.split(command)


def test_marks_in_a_text_are_no_marks():
    assert wrap_text("a\x00b sdperf\x01resume") == ["a?b sdperf?resume"]


@example(["==============='========"], 30)
@given(st.lists(st.text("abc-=[]/'. ", max_size=30), max_size=30), st.integers(30, 100))
def test_only_a_word_of_a_command_is_too_wide_and_no_letter_is_lost(words, width):
    text = " ".join(["pytest", *words])
    lines = wrap_text(text, width, subsequent_indent="  ")
    for line in lines:
        if len(line) > width:
            assert "' '" not in line
            assert line.split()[0][0] != "p"
    told = "".join(line.removesuffix(" \\") for line in lines)
    assert "".join(told.split()) == "".join(text.split())


@given(st.lists(st.text("abc-=[]/. ", max_size=30), max_size=30), st.integers(40, 100))
def test_no_line_of_prose_is_too_wide(words, width):
    lines = wrap_text(" ".join(["what was seen:", *words]), width, subsequent_indent="  ")
    assert max(map(len, lines)) <= width


PATH = f"benchmarks/baselines/cpu--{'amd-epyc--' * 9}power-unknown/0001.json"


@pytest.mark.parametrize("words", [f"accepted 12 cases as {PATH}", f"{PATH}: kept", PATH])
def test_a_path_that_is_longer_than_a_line_is_never_divided(words):
    lines = wrap_text(words, subsequent_indent="    ")
    assert any(PATH in line for line in lines)
    assert [line.text for line in wrap_line(words)] == lines


ARGUMENT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60
).filter(lambda word: not word.endswith("\n"))
"""Any argument that a program can be given; a shell cannot restore a line break at its end."""


def print_command(arguments, before, width):
    """Return the printed lines of a command, from its first word on."""
    step = join_step(before, "next: ", join_command(["pytest", *arguments]))
    if width == WIDTH:
        lines = [line.text for line in wrap_line(step)]
    else:
        lines = wrap_text(step, width, subsequent_indent="    ")
    printed = "\n".join(lines)
    return lines, printed[printed.index("pytest") :]


@settings(max_examples=60)
@given(
    st.lists(ARGUMENT | st.sampled_from(["onnx", "cpu", ".sdperf", "2"]), max_size=8),
    st.integers(0, 30).map(lambda count: "x " * count),
    st.integers(40, 120),
)
@example(["benchmarks", "--benchmark-compare", "--sd-engine", "torch", "-k", "cpu"], "", 50)
@example(["a.py::test[it's a]", "--sd-precision", "fp16"], "", 40)
@example([f"a.py::test[{'word ' * 40}]", "--sd-workers", "2"], "x " * 30, WIDTH)
@example(["a.py::test[a\tb  c\nd]", "::x ##[y]", "", "\u2028\u200b'", "é"], "", WIDTH)
def test_a_command_that_is_copied_has_its_very_words(arguments, before, width):
    lines, printed = print_command(arguments, before, width)
    script = f"pytest() {{ printf '<%s>\\0' \"$@\"; }}\n{printed}\n"
    read = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert read.stderr == b""
    said = b"".join(f"<{word}>\0".encode() for word in arguments) or b"<>\0"
    assert read.stdout == said
    longest = max(len(word) for word in join_command(["pytest", *arguments]).commands[0])
    assert max(map(len, lines)) <= max(width, longest + len("     \\"))


def test_what_hangs_on_to_many_commands_is_counted_in_linear_time(monkeypatch):
    """Each command once had the whole text before and behind it split anew."""
    text, split = "sdperf ab HEAD' " * 300, re.split
    seen = []

    def count(pattern, whole, *arguments, **named):
        seen.append(len(whole))
        return split(pattern, whole, *arguments, **named)

    monkeypatch.setattr(wrapping, "re", SimpleNamespace(**{**vars(re), "split": count}))
    lines = wrap_text(text)
    assert sum(seen) <= len(text)
    assert " ".join(lines) == text.strip()
    assert max(map(len, lines)) <= 100


def test_words_behind_a_known_command_do_not_continue_it():
    command = join_command(["pytest", *["--sd-engine", "onnx"] * 8])
    lines = wrap_text(join_step("next: ", command, " measures it without the others"))
    (last,) = (number for number, line in enumerate(lines) if "measures" in line)
    assert all(line.endswith(" \\") for line in lines[: last - 1])
    assert not lines[last].endswith("\\")
