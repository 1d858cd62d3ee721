import json
from pathlib import Path

import pytest

from evidence.first_case.__main__ import WAYS, compute_ratio, format_ratios
from evidence.first_case.products import parse_products

COMMITTED = Path(__file__).parents[2] / "docs/results/order-effect/first-case.json"


def make_rounds(early, late, count=22):
    rounds = [{"user_s": 9.0}] * 2 + [{"user_s": early}] * 5
    return rounds + [{"user_s": late}] * (count - len(rounds))


def test_early_rounds_leave_the_first_call_and_its_warm_up_out():
    assert compute_ratio(make_rounds(0.6, 0.5), "user_s") == pytest.approx(1.2)
    assert compute_ratio(make_rounds(0.6, 0.0), "user_s") is None


def test_the_committed_turns_are_mirrored_and_say_what_the_page_says():
    turns = json.loads(COMMITTED.read_text())["turns"]
    assert [one["way"] for one in turns] == [*WAYS, *reversed(WAYS), *WAYS]
    cpu = [
        [one | {"cpu_s": one["user_s"] + one["system_s"]} for one in turn["rounds"]]
        for turn in turns
    ]
    ratios = [compute_ratio(rounds, "cpu_s") for rounds in cpu]
    assert (round(min(ratios), 2), round(max(ratios), 2)) == (0.89, 1.06)
    assert sum(ratios) / len(ratios) == pytest.approx(0.98, abs=0.005)
    assert max(one["major_faults"] for turn in turns for one in turn["rounds"][1:]) == 0
    assert {one["huge_bytes"] for turn in turns for one in turn["rounds"]} == {0}
    assert max(one["system_s"] / one["cpu_s"] for turn in cpu for one in turn[2:]) < 0.1
    assert format_ratios(turns).count("\n") == 14


def test_products_are_counted_by_the_threads_that_they_were_given():
    told = "MKL_VERBOSE SGEMM(N,N,256,64,576,0x7f) 10.15ms CNR:OFF Dyn:{} FastMM:1 TID:0  NThr:{}"
    lines = [told.format(1, 1), told.format(1, 2), told.format(0, 2), told.format(0, 2)]
    others = ["MKL_VERBOSE oneMKL 2024.2 for Linux", "MKL_VERBOSE VSEXP(9) 1us Dyn:1 NThr:2", ""]
    assert parse_products([*lines, *others]) == {
        "1 threads, MKL's choice": 1,
        "2 threads": 2,
        "2 threads, MKL's choice": 1,
    }


def test_the_committed_products_say_what_the_page_says():
    found = json.loads((COMMITTED.parent / "products.json").read_text())["products"]
    assert found == {
        "untold": {"1 threads, MKL's choice": 944, "2 threads, MKL's choice": 234},
        "told": {"2 threads": 1178},
        "worker": {"2 threads": 1262},
    }
