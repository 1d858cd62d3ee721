"""A command that is printed can be copied: it stays on one line, or is continued like a shell's."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.report.text.wrapping import WIDTH, wrap_text

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


@given(st.lists(st.text("abc-=[]/'. ", max_size=30), max_size=30), st.integers(30, 100))
def test_no_line_is_too_wide_and_no_letter_is_lost(words, width):
    text = " ".join(["pytest", *words])
    lines = wrap_text(text, width, subsequent_indent="  ")
    assert max(map(len, lines), default=0) <= width
    told = "".join(line.removesuffix(" \\") for line in lines)
    assert "".join(told.split()) == "".join(text.split())
