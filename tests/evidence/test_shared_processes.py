import json
import math
import re

import numpy as np
import pytest

from evidence.shared_processes.__main__ import (
    RATIOS,
    RECORDED,
    SPREADS,
    count_named,
    extract,
    format_stages,
    read_recorded,
)
from evidence.shared_processes.simulation import (
    COMPARISONS,
    bound_rows,
    count_false,
    draw_contrasts,
    simulate,
)
from sdperf.bisect.judging import LOOKS
from sdperf.stats.paired import Decision, compute_yuen_bounds, decide_by_blocks


def test_among_recorded_copies_each_stage_is_named_in_one_of_twenty_at_most():
    recorded = read_recorded()
    assert len(recorded) == 6
    for rows in recorded.values():
        assert len(rows) == 67
        assert all(len(row) == 18 for row in rows)
        for look in LOOKS:
            assert count_named(rows, look, by_process=True) <= 0.05 * len(rows)
    assert count_named(recorded["decode_latents"], 18, by_process=False) == 11


def test_the_table_of_stages_has_both_kinds_of_interval():
    (row,) = (line for line in format_stages(read_recorded()) if "decode_latents" in line)
    assert row.split("|")[2].strip() == "67"
    assert row.endswith("| 11 -> 1 |")


@pytest.mark.parametrize("blocks", LOOKS)
def test_bounds_of_many_rows_are_those_of_each(blocks):
    rows = draw_contrasts(np.random.default_rng(5), 20, blocks, 0.05, 2.0)
    means, reaches = bound_rows(rows, 0.0025)
    for row, mean, reach in zip(rows.tolist(), means, reaches, strict=True):
        bounds = compute_yuen_bounds(row, 0.0025)
        assert mean == pytest.approx(bounds.mean)
        assert reach == pytest.approx(bounds.upper - bounds.mean)


@pytest.mark.parametrize("is_two_sided", [False, True])
def test_decisions_over_many_rows_are_those_of_each(is_two_sided):
    rows = draw_contrasts(np.random.default_rng(6), 400, 18, 0.04, 4.0)
    false = 0
    for row in rows.tolist():
        found = decide_by_blocks(row, 0.0295588, alpha=0.3, looks=LOOKS, is_two_sided=is_two_sided)
        is_gain = is_two_sided and found.bounds.upper < 0 and found.bounds.mean < -0.0295588
        is_passed = found.decision is Decision.PASS
        false += found.decision is Decision.FAIL or (is_passed and is_gain)
    assert count_false(rows, 0.3, LOOKS, is_two_sided=is_two_sided) == false > 20


def test_processes_that_differ_cost_more_false_alarms_than_is_asked_for():
    one, other = (
        simulate(np.random.default_rng(7), 0.12, ratio, draws=100_000) for ratio in (1.0, 2.0)
    )
    assert 0.008 < one.ab < 0.013
    assert 0.018 < other.ab < 0.027
    assert one.sweep < other.sweep


def read_told_shares():
    """Read the table of the page: spread, ratio, share of ab, share of a sweep."""
    text = (RECORDED.parent / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) % \| ([\d.]+) \| ([\d.]+) % \| ([\d.]+) % \|$", text, re.M)
    return [
        (int(one) / 100, float(two), *(float(x) / 100 for x in rest)) for one, two, *rest in rows
    ]


def test_the_page_has_a_row_for_each_spread_and_ratio():
    told = [(spread, ratio) for spread, ratio, *_ in read_told_shares()]
    assert told == [(spread, ratio) for spread in SPREADS for ratio in RATIOS]


@pytest.mark.parametrize(("spread", "ratio", "ab", "sweep"), read_told_shares())
def test_the_shares_that_the_page_tells_are_found_again(spread, ratio, ab, sweep):
    draws = 100_000
    found = simulate(np.random.default_rng(8), spread, ratio, draws)
    chance_of_ab = math.sqrt(max(ab, 1e-4) / draws)
    chance_of_sweep = math.sqrt(COMPARISONS * max(sweep, 1e-3) / draws)
    assert found.ab == pytest.approx(ab, abs=4 * chance_of_ab)
    assert found.sweep == pytest.approx(sweep, abs=4 * chance_of_sweep)


def test_the_docs_say_what_the_page_says():
    """With a ratio of 1.2 and 2 where blocks scatter by 12 % and by 2 %."""
    told = {(spread, ratio): rest for spread, ratio, *rest in read_told_shares()}
    docs = RECORDED.parents[2]
    for place, page in enumerate(("ab.md", "sweep.md")):
        text = (docs / page).read_text(encoding="utf-8")
        for ratio in RATIOS[1:]:
            assert f"{100 * told[0.12, ratio][place]:.1f} %" in text
            assert re.search(rf"\b{100 * told[0.02, ratio][place]:.2f}\b", text)


def test_log_ratios_are_taken_from_the_comparisons_of_a_sweep(tmp_path):
    pair = {"a": {"denoise_s": 1.0, "whole_s": None}, "b": {"denoise_s": 2.0, "whole_s": None}}
    record = {"cases": [{"profiles": [pair, pair]}]}
    (tmp_path / "001.json").write_text(json.dumps(record), encoding="utf-8")
    assert extract([tmp_path]) == {"denoise": [[0.6931, 0.6931]]}
