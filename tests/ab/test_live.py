"""One comparison with torch: real interpreters, the tiny pipeline, two prompts."""

import sys
from pathlib import Path

import pytest

from sdperf.ab.sides.sides import Side
from sdperf.ab.turns import arms
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import CompareOptions, list_rounds_s
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Workload
from tests.support import deviating_subjects, external_toy
from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]


@pytest.mark.long
def test_a_mode_against_another(tiny_folder, tmp_path):
    model = str(tiny_folder("smallest-sd"))
    workload = Workload(model, ("red apple", "house"), 2, 5.0, height=32, width=32)
    sides = Side("sync", workload), Side("async", workload, variant_changes={"mode": "async"})
    options = CompareOptions(null_control=False, looks=(2,), rounds=1, guards="off")
    with LiveBench(root=tmp_path) as bench:
        compared = compare(*sides, options=options, bench=bench)
    (case,) = compared.record.cases
    assert case.variant_b.mode == "async"
    assert len(case.contrasts) == 2
    assert [pair.b.scores[0].identical for pair in case.images] == [True, True]
    assert case.memory_b.median().peak_rss_bytes > 2**20
    assert compared.record.environment.device_kind == "cpu"
    assert compared.record.a.packages["torch"].startswith("2.")
    verdict = judge_comparison(compared.record).cases[0]
    assert [stage.name for stage in verdict.stages][-3:] == ["decode_latents", "deliver", "rest"]
    assert "image: identical" in verdict.line


def test_a_program_against_an_update_of_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "SHORTEST_WATCH_S", 1e-6)  # one round, not hundreds of short ones
    toy = f"external:toy={sys.executable} -S {external_toy.__file__}"
    workload = Workload("embedded", ("red apple", "house"), 3, None, height=32, width=32)
    sides = (
        Side("before", workload, variant_changes={"engine": toy}),
        Side("after", workload, variant_changes={"engine": f"{toy} --noise update"}),
    )
    options = CompareOptions(null_control=False, looks=(2,), rounds=1, guards="off")
    with LiveBench(root=tmp_path) as bench:
        compared = compare(*sides, options=options, bench=bench)
    assert compared.record.a.program.version == "1.2.3"
    (case,) = compared.record.cases
    assert case.memory_b.median().peak_rss_bytes > 2**20
    ours_s = list_rounds_s(case.blocks, "B")
    assert len(case.own_b_s) == len(ours_s)
    assert all(0 < own_s < round_s for own_s, round_s in zip(case.own_b_s, ours_s, strict=True))
    (verdict,) = judge_comparison(compared.record).cases
    assert [stage.name for stage in verdict.stages][:2] == ["denoise", "decode_latents"]
    (image,) = (one for one in verdict.findings if one.gate == "image")
    assert image.outcome is Outcome.DEGRADED  # the same program, whose pictures changed


@pytest.mark.long
def test_a_side_that_does_other_work_than_asked_is_broken_with_both_values(tiny_folder, tmp_path):
    model = str(tiny_folder("sd"))
    workload = Workload(model, ("red apple",), 4, 5.0, height=32, width=32)
    code = (str(Path(deviating_subjects.__file__).parents[2]),)
    sides = [
        Side(
            subject,
            workload,
            variant_changes={"precision": "fp32", "optimisations": ("channels_last",)},
            subject=f"{deviating_subjects.__name__}:{subject}",
            code=code,
        )
        for subject in ("plain", "everything")
    ]
    options = CompareOptions(null_control=False, looks=(2,), rounds=1, guards="off", stages=False)
    with LiveBench(root=tmp_path) as bench:
        compared = compare(*sides, options=options, bench=bench)
    (case,) = judge_comparison(compared.record).cases
    assert case.outcome is Outcome.BROKEN
    said = " ".join(one.reason for one in case.findings if one.outcome is Outcome.BROKEN)
    for words in deviating_subjects.EVERYTHING:
        assert words in said
    assert "BROKEN" in case.line
