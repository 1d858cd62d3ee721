from dataclasses import replace

import pytest

from sdperf.bisect.judging import CaseAnswer, Target
from sdperf.bisect.search import Standing, make_chain, weigh_answers
from sdperf.bisect.searching import Conclusion
from sdperf.bisect.state import BisectState, StepRecord
from sdperf.report.markdown.bisect import format_bisect_markdown
from sdperf.report.text.bisect import BisectReport, StepInfo, format_bisect_lines, format_headline
from tests.support.bisecting import question

CASE = "latency[fp32-sync-1w]"
HISTORY = make_chain(["c1", "c2", "c3"])


def record(step, answer, change_log=0.1, **changes):
    seen = CaseAnswer(CASE, answer, "seen", 4, change_log, change_log - 0.02, change_log + 0.02)
    return StepRecord(step, answer, cases=(seen,), took_s=10.0, **changes)


def report(ending="found", steps=(), closing=None, **changes):
    state = BisectState(
        question(HISTORY),
        "2026-11-24T10:00:00Z",
        end=record("c3", "bad"),
        targets=(Target(CASE, "speed", 0.1),),
        steps=tuple(steps),
        closing=closing,
        closing_base="c1",
    )
    standing = weigh_answers(HISTORY, state.answers)
    infos = {name: StepInfo(name, f"Add {name}") for name in ("good", *HISTORY.steps)}
    return BisectReport(Conclusion(ending, state, standing, "why not"), infos, **changes)


FOUND = (record("c1", "good", 0.0), record("c2", "bad"))


def words_of(one):
    return "\n".join(line.text for line in format_bisect_lines(one))


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("found", "first bad commit: c2 Add c2"),
        ("nothing", "nothing to find: the bad end is not worse than the good end"),
        ("undecided", "undecided: this machine cannot tell good and c3 apart"),
        ("void", "void: why not"),
        ("interrupted", "interrupted: 1 of 3 commits are left"),
    ],
)
def test_each_ending_has_its_headline(ending, words):
    assert format_headline(report(ending, FOUND)).startswith(words)


def test_the_effort_and_the_error_are_said():
    words = words_of(report(steps=FOUND))
    assert "3 tests over 3 commits, 12 blocks, 30.0 s" in words
    assert "an error of 1 % for a wrong turn in speed, shared" in words


def test_the_effort_counts_the_first_bad_commit_by_itself():
    without = report(steps=FOUND).state
    assert without.closing is None
    words = words_of(report(steps=FOUND, closing=record("c2", "bad")))
    assert "3 tests over 3 commits, 1 comparison of the first bad commit by itself" in words
    assert "16 blocks, 40.0 s" in " ".join(words.split())


def test_a_range_names_every_suspect_and_why_it_could_not_be_told():
    steps = (record("c1", "open", 0.04), StepRecord("c2", "skipped", "does not import"))
    one = report("range", steps)
    for words in (words_of(one), format_bisect_markdown(one)):
        assert all(name in words for name in ("c1", "c2", "c3"))
        assert "does not import" in words
        assert "one of 3" in words


def test_a_step_that_explains_little_of_the_loss_is_said_to():
    whole = report(steps=FOUND, closing=record("c2", "bad", 0.095))
    assert "of what the bad end lost" not in words_of(whole)
    part = report(steps=FOUND, closing=record("c2", "bad", 0.05))
    assert "c2 by itself is 50 % of what the bad end lost" in words_of(part).replace("\n    ", " ")


def test_a_step_that_loses_nothing_by_itself_is_said_to():
    words = words_of(report(steps=FOUND, closing=record("c2", "good", 0.0)))
    assert "by itself c2 does not lose what the search looked for" in words.replace("\n    ", " ")
    gone = StepRecord("c2", "skipped", "the side died")
    assert "could not be measured by itself: the side died" in words_of(
        report(steps=FOUND, closing=gone)
    )


def test_markdown_has_the_path_with_intervals_and_nothing_of_a_commit_becomes_markup():
    one = report(steps=FOUND, command="sdperf bisect a b")
    hostile = StepInfo("c2", "<img> | [x](y) @all", (("author", "*me*"),), (("M", "a`|b.py"),))
    text = format_bisect_markdown(replace(one, steps={**one.steps, "c2": hostile}))
    assert "| 1 | `c1` Add c1 | good | +0.0 % (-2.0 to +2.0) | 4 | 10.0 s | seen |" in text
    assert "The error was divided by 4 tests" in text
    assert "&lt;img> \\| \\[x\\]\\(y\\) @\u2060all" in text
    assert "\\*me\\*" in text
    assert "`a'\\|b.py`" in text
    assert text.endswith("```\nsdperf bisect a b\n```\n")


def test_long_words_are_wrapped():
    one = report(steps=FOUND)
    wordy = {**one.steps, "c2": StepInfo("c2", "word " * 60)}
    assert all(len(line.text) <= 100 for line in format_bisect_lines(replace(one, steps=wordy)))
    assert isinstance(one.conclusion.standing, Standing)
