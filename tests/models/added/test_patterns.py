"""A LoRA's file cannot keep peft matching names: what trainers write is far below the bounds."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.models.added.patterns import (
    LONGEST_NAME,
    LONGEST_PATTERN,
    MOST_NAMES,
    MOST_PATTERNS,
    MOST_STEPS,
    count_steps,
    find_costly_pattern,
    find_odd_name,
)

UNSLOTH = (
    r"(?:.*?(?:vision|image|visual|patch|language|text).*?"
    r"(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn)\.(?:(?:q_proj|k_proj|v_proj)))"
)
PARTS = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.0.proj", "ff.net.2"),
    *("attn.add_q_proj", "attn.add_k_proj", "proj_mlp"),
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
        r"[*+?{]{4}[]a]",
        r"^(?!.*norm).*to_[qkv]",
        UNSLOTH,
        {
            rf"^{kind}transformer_blocks\.\d+\.{part}": 8
            for kind in ("", "single_")
            for part in PARTS
        },
        {rf"blocks\.{number}\.to_q": 8 for number in range(1000)},
        {f"^down_blocks.{number}.attn.to_q": 8.5 for number in range(1000)},
        7,
    ],
)
@pytest.mark.parametrize("field", ["target_modules", "transformer.rank_pattern"])
def test_what_trainers_write_is_taken(field, value):
    if value == UNSLOTH and "rank" in field:
        pytest.skip("no trainer writes a rank for all layers at once")
    assert find_costly_pattern({field: value}) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("(a+)+$", "a group that repeats"),
        ("(?:a|a)*b", "a group that repeats"),
        ("(a|b){2,}", "a group that repeats"),
        (".*.*.*.*.*x", f"more than {MOST_STEPS} steps"),
        (r"\w*[^x]+a*.+" * 2, f"more than {MOST_STEPS} steps"),
        ("a{0,9}" * 5, f"more than {MOST_STEPS} steps"),
        ("a?" * 40, f"more than {MOST_STEPS} ways"),
        (".??" * 40, f"more than {MOST_STEPS} ways"),
        ("(.|.)" * 40, f"more than {MOST_STEPS} ways"),
        ("(a|a)" * 40, f"more than {MOST_STEPS} ways"),
        ("(a|ab)" * 40, f"more than {MOST_STEPS} ways"),
        (".*.*.*" + ".?" * 12, f"more than {MOST_STEPS} steps"),
        ("(?!" + ".*" * 5 + "x)", f"more than {MOST_STEPS} steps"),
        ("(?x)(.+) +x", "a '?' that cannot be counted"),
        ("(?x:(.+) +)x", "a '?' that cannot be counted"),
        ("(?i)a", "a '?' that cannot be counted"),
        (r"(a)\1", r"a '\\' that cannot be counted"),
        ("(a|b", "a group without end"),
        ("a)b", "a ')' that cannot be counted"),
        ("a**", "a '*' that cannot be counted"),
        ("(?:" * 1300, "without end"),
        ("x" * (LONGEST_PATTERN + 1), f"more than {LONGEST_PATTERN} characters"),
        ({"(a+)+$": 4}, "a group that repeats"),
        ({f"{number}.?" + ".?" * 12: 4 for number in range(400)}, f"more than {MOST_STEPS} steps"),
        ({str(number): 4 for number in range(MOST_PATTERNS + 1)}, f"than {MOST_PATTERNS} patterns"),
    ],
)
@pytest.mark.parametrize("field", ["exclude_modules", "transformer.alpha_pattern"])
def test_what_could_take_forever_is_named_with_its_place(field, value, why):
    told = find_costly_pattern({"r": 4, field: value})
    assert told.startswith(f"{field}: ")
    assert why in told


def test_a_list_of_names_is_of_names_and_bounded():
    assert find_costly_pattern({"target_modules": ["(a+)+$"] * MOST_NAMES}) is None
    assert "names" in find_costly_pattern({"target_modules": ["a"] * (MOST_NAMES + 1)})
    assert "is no name" in find_costly_pattern({"target_modules": [[".*.*.*.*.*"]]})
    assert "is no name" in find_costly_pattern({"modules_to_save": [["](a+)+["]]})
    assert "repeats" in find_costly_pattern({"modules_to_save": ["to_q", "(a+)+$"]})


def test_other_arguments_are_no_patterns():
    assert find_costly_pattern({"task_type": "(a+)+$", "transformer.bias": ".*" * 9}) is None


def count_matches(parts, name, place=0):
    """Count the ways in which parts, each a function of the rest, match a beginning of a name."""
    if not parts:
        return 1
    least, most = parts[0]
    ends = range(place + least, min(place + most, len(name)) + 1)
    return sum(count_matches(parts[1:], name, end) for end in ends)


REPEATS = {".": (1, 1), ".?": (0, 1), ".??": (0, 1), ".*": (0, 64), ".+": (1, 64), "(?:.)?": (0, 1)}


@given(st.lists(st.sampled_from(sorted(REPEATS)), max_size=6), st.integers(0, 12))
def test_no_fewer_steps_are_counted_than_ways_exist(pieces, length):
    pattern = "".join(pieces)
    re.compile(pattern)
    try:
        steps = count_steps(pattern)
    except ValueError:
        return
    assert steps >= count_matches([REPEATS[one] for one in pieces], "a" * length)


WORDS = st.lists(st.text("ab", max_size=4), min_size=2, max_size=12)


@given(WORDS)
def test_of_words_only_those_that_begin_alike_match_together(words):
    most = max(sum(one.startswith(word) for word in words) for one in words)
    few = count_steps(f"({'|'.join(words)}).*") - count_steps(f"({'|'.join(words)})")
    assert few == most * count_steps(".*") - most


@pytest.mark.parametrize(
    "name",
    [
        "transformer.transformer_blocks.0.attn.to_out.0.lora_A.weight",
        "base_model.model.unet.mid_block.attn1.to_q.lora_B.default.weight",
        "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha",
        "unet.up_blocks.1.attn2.processor.to_k_lora.up.weight",
        "diffusion_model.blocks.0.self_attn.q.diff_b",
        "double_blocks.0.processor.proj_lora1.down.weight",
        "bundle_emb.my style-2.string_to_param.*",
    ],
)
def test_names_of_trainers_are_plain(name):
    assert find_odd_name(frozenset({name})) is None


@pytest.mark.parametrize(
    "name",
    [
        *("unet.(a+)+.lora_B.weight", "unet.a*.lora_B.weight", "unet.a|b.alpha", "unet.a?.alpha"),
        *("a.string_to_param.*.lora_B.weight", "a\nb", "[a]", "a{9}", "x" * (LONGEST_NAME + 1)),
    ],
)
def test_a_name_that_would_be_a_pattern_is_found(name):
    assert find_odd_name(frozenset({"unet.to_q.lora_A.weight", name})) == name
