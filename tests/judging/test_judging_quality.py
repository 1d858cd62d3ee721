from dataclasses import replace

import pytest

from sdperf.judging.quality import (
    QualityNoise,
    QualityPair,
    judge_quality,
)
from sdperf.record.measurement import ImageScores
from sdperf.record.verdict import Outcome


def score(ssim, tile=0.9, sha="ref"):
    return ImageScores("reference", sha, ssim, 30.0, tile, (0, 0, 16, 16), identical=False)


def pairs(drops, tile_drops=None, sha="ref"):
    tile_drops = tile_drops or [0.0] * len(drops)
    return [
        QualityPair(f"prompt {i}", i, score(0.95), score(0.95 - drop, 0.9 - tile, sha))
        for i, (drop, tile) in enumerate(zip(drops, tile_drops, strict=True))
    ]


def test_a_loss_on_every_prompt_is_degraded_and_the_worst_is_named():
    finding = judge_quality(pairs([0.03] * 7 + [0.08]), QualityNoise())
    assert finding.outcome is Outcome.DEGRADED
    assert "worst: 'prompt 7' (seed 7) by 0.0800" in finding.reason


def test_a_loss_on_the_worst_tiles_alone_is_degraded():
    finding = judge_quality(pairs([0.001] * 8, [0.4] * 8), QualityNoise())
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("worst tile SSIM")


@pytest.mark.parametrize(
    "drops",
    [
        [0.0] * 8,
        [-0.05] * 8,  # better
        [0.01] * 8,  # significant but small
        [0.05, -0.05] * 4,  # large but not one way
        [0.9] + [0.0] * 7,  # one prompt alone: its floor speaks, not the test
    ],
)
def test_no_common_loss_passes(drops):
    assert judge_quality(pairs(drops), QualityNoise()).outcome is Outcome.PASS


def test_noise_of_unchanged_code_raises_the_bar():
    drops = [0.05] * 8
    assert judge_quality(pairs(drops), QualityNoise(ssim=0.01)).outcome is Outcome.DEGRADED
    assert judge_quality(pairs(drops), QualityNoise(ssim=0.02)).outcome is Outcome.PASS


def test_seven_pairs_are_too_few():
    finding = judge_quality(pairs([0.5] * 7), QualityNoise())
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "8 are needed" in finding.reason


def test_another_reference_is_incomparable():
    assert judge_quality(pairs([0.5] * 8, sha="x"), QualityNoise()).outcome is Outcome.INCOMPARABLE


def test_no_pairs_no_baseline():
    assert judge_quality([], QualityNoise()).outcome is Outcome.NO_BASELINE


def coloured(rises, tile_rises=None):
    tile_rises = tile_rises or [0.0] * len(rises)
    return [
        QualityPair(
            f"prompt {i}",
            i,
            replace(score(0.95), ciede2000=0.01, worst_tile_ciede2000=0.1),
            replace(score(0.95), ciede2000=0.01 + rise, worst_tile_ciede2000=0.1 + tile),
        )
        for i, (rise, tile) in enumerate(zip(rises, tile_rises, strict=True))
    ]


def test_a_colour_shift_on_every_prompt_is_degraded_where_structure_holds():
    finding = judge_quality(coloured([0.8] * 8), QualityNoise())
    assert finding.outcome is Outcome.DEGRADED
    assert finding.reason.startswith("colour difference rose by 0.8000")
    finding = judge_quality(coloured([0.0] * 8, [0.9] * 8), QualityNoise())
    assert finding.reason.startswith("worst tile's colour difference rose")


def test_a_score_that_moved_the_other_way_or_not_at_all_is_told_so():
    reason = judge_quality(coloured([-0.005] * 8), QualityNoise()).reason
    assert "; colour difference fell by 0.0050 in the median of 8 pairs" in reason
    assert reason.startswith("SSIM is unchanged in the median of 8 pairs; ")
    assert "by -" not in reason


@pytest.mark.parametrize("rises", [[0.8] * 7 + [-0.1], [0.4] * 8, [-0.8] * 8])
def test_colour_has_to_rise_on_every_prompt_and_by_enough(rises):
    assert judge_quality(coloured(rises), QualityNoise()).outcome is Outcome.PASS


def test_noise_in_colour_raises_the_bar():
    assert judge_quality(coloured([0.8] * 8), QualityNoise(ciede2000=0.3)).outcome is Outcome.PASS
