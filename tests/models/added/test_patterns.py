"""A LoRA's file cannot keep peft matching names: what trainers write is far below the bounds."""

import pytest

from sdperf.models.added.patterns import (
    LONGEST_PATTERN,
    MOST_OPTIONAL,
    MOST_PATTERNS,
    MOST_REPEATING,
    find_costly_pattern,
)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "all-linear",
        ["to_q", "to_k", "to_out.0", "attn.to_q"],
        r"(?:.*?\.)?(?:single_)?transformer_blocks\.\d+\.(?:attn|ff)\.(?:to_q|to_k)",
        r".*\.attn\d+\.to_(q|k|v)$",
        r"a\+\+\+\+\*\{b",
        {rf"blocks\.{number}\.to_q": 8 for number in range(1000)},
        ["x" * 200] * 5000,
        7,
    ],
)
@pytest.mark.parametrize("field", ["target_modules", "transformer.rank_pattern"])
def test_what_trainers_write_is_taken(field, value):
    assert find_costly_pattern({field: value}) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("(a+)+$", "a group that repeats"),
        ("(?:a|a)*b", "a group that repeats"),
        ("(a|b){2,}", "a group that repeats"),
        (".*.*.*.*x", "more than 3 repeats"),
        ("a{0,9}" * 4, "more than 3 repeats"),
        ("a?" * (MOST_OPTIONAL + 1) + "a" * 13, f"more than {MOST_OPTIONAL} optional parts"),
        ("x" * (LONGEST_PATTERN + 1), f"more than {LONGEST_PATTERN} characters"),
        (["to_q", "(a+)+$"], "a group that repeats"),
        ({"(a+)+$": 4}, "a group that repeats"),
        (["to_q"] * (MOST_PATTERNS + 1), f"more than {MOST_PATTERNS} patterns"),
        ({f"{number}.*": 4 for number in range(MOST_REPEATING + 1)}, "patterns with repeats"),
    ],
)
@pytest.mark.parametrize("field", ["exclude_modules", "transformer.alpha_pattern"])
def test_what_could_take_forever_is_named_with_its_place(field, value, why):
    told = find_costly_pattern({"r": 4, field: value})
    assert told.startswith(f"{field}: ")
    assert why in told


def test_other_arguments_are_no_patterns():
    assert find_costly_pattern({"task_type": "(a+)+$", "transformer.bias": ".*" * 9}) is None
