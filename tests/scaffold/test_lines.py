"""Lines are put in between those that are there, of which not a character changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.scaffold.lines import find_line_end, insert_lines, split_lines, unify_line_ends
from sdperf.scaffold.plan import Wanted, plan_scaffold

TEXTS = st.text(st.sampled_from("a[#\r\n\x0c\x1c\x85\u2028\ufeff "))


@given(TEXTS, st.integers(0, 9), st.lists(st.text("xyz", min_size=1), max_size=3))
def test_without_the_lines_that_were_put_in_the_old_text_is_back(text, place, lines):
    after = insert_lines(text, place, lines)
    kept = "".join(split_lines(text)[:place])
    end = find_line_end(text)
    missing = end if kept and not kept.endswith("\n") else ""
    added = missing + "".join(one + end for one in lines)
    assert after[: len(kept)] == kept
    assert after[len(kept) : len(kept) + len(added)] == added
    assert after[: len(kept)] + after[len(kept) + len(added) :] == text
    assert all(one in split_lines(after) for one in (line + end for line in lines))


@given(TEXTS)
def test_what_git_is_told_to_ignore_is_added_and_the_rest_stays_byte_for_byte(text):
    (after,) = [
        one.after
        for one in plan_scaffold({".gitignore": text}, Wanted(), "1.0")
        if one.path == ".gitignore"
    ]
    end = find_line_end(text)
    assert after.startswith(text)
    assert after.removeprefix(text).removeprefix(end) in (f".benchmarks/{end}.sdperf/{end}",)


@pytest.mark.parametrize(
    ("text", "end"),
    [("", "\n"), ("a", "\n"), ("a\r\nb\r\nc\n", "\r\n"), ("a\r\nb\n", "\n"), ("a\rb\r", "\n")],
)
def test_most_lines_decide_how_the_new_ones_end(text, end):
    assert find_line_end(text) == end


@given(TEXTS)
def test_lines_joined_are_the_text_and_a_checkout_changes_ends_only(text):
    assert "".join(split_lines(text)) == text
    assert unify_line_ends(unify_line_ends(text).replace("\n", "\r\n")) == unify_line_ends(text)
