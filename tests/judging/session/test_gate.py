"""What a case is held against, without a run: memory, images, and which sessions count."""

import dataclasses
from pathlib import Path

from sdperf.images.png import compute_png_sha256
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.comparison import ComparedSession, Comparison, count_shared_parts
from sdperf.judging.session.gate import Gate
from sdperf.models.references import ReferenceEntry, ReferenceImages, ReferenceList
from sdperf.record.floors import Floors
from sdperf.record.measurement import MemoryUsage
from sdperf.record.verdict import Outcome, Verdict
from sdperf.record.workload import ImageRequest, Variant
from sdperf.run.case import CaseResult
from sdperf.store.images import ImageStore
from sdperf.store.runs import SavedCase
from tests.support.measurements import image, measurement, scores
from tests.support.saved_runs import CASE, draw

GIB = 2**30


def session(folder, *, memory=None, outcome="PASS", number=1, **changes):
    sha256 = ImageStore(folder / "images").write(draw())
    saved = measurement(
        images=(image(sha256=sha256, scores=()),), memory=memory or MemoryUsage(), **changes
    )
    case = SavedCase(CASE, saved, outcome, None)
    return ComparedSession(f"baseline {number:04}", {CASE: case}, ImageStore(folder / "images"))


def result(memory=None, seed=0):
    png = draw(seed)
    sha256 = compute_png_sha256(png)
    measured = measurement(
        images=(image(sha256=sha256, scores=()),), memory=memory or MemoryUsage()
    )
    return CaseResult(measured, {sha256: png})


def judge(sessions, current):
    comparison = Comparison(is_asked=True, sessions=tuple(sessions))
    return Gate(comparison, None, MemoryLimits()).judge(CASE, current)


def outcome(judged):
    return Verdict(CASE, judged.findings).outcome


def test_a_case_with_other_threads_says_so_and_what_to_type(tmp_path):
    typed = dataclasses.replace(
        result(), measurement=measurement(variant=Variant(threads=2), worker_threads=2)
    )
    comparison = Comparison(is_asked=True, sessions=(session(tmp_path, worker_threads=1),))
    case = CASE.replace("1w", "1w-2t")
    (told,) = [
        one
        for one in Gate(comparison, None, MemoryLimits()).judge(case, typed).findings
        if one.outcome is Outcome.NO_BASELINE and one.gate == "latency"
    ]
    assert told.reason == (
        "measured with 2 threads; baseline 0001 has it with 1, the automatic number"
    )
    assert told.next_step == "pytest without --sd-threads, or sdperf baseline accept --reason TEXT"


def test_memory_that_grew_by_more_than_both_limits_is_heavier(tmp_path):
    before = [session(tmp_path, memory=MemoryUsage(peak_rss_bytes=GIB))]
    assert outcome(judge(before, result(MemoryUsage(peak_rss_bytes=GIB)))) is Outcome.PASS
    heavier = judge(before, result(MemoryUsage(peak_rss_bytes=2 * GIB)))
    assert outcome(heavier) is Outcome.HEAVIER


def test_another_image_than_the_baselines_is_degraded(tmp_path):
    assert outcome(judge([session(tmp_path)], result(seed=0))) is Outcome.PASS
    assert outcome(judge([session(tmp_path)], result(seed=1))) is Outcome.DEGRADED


def test_a_case_that_failed_in_a_saved_run_is_nothing_to_compare_with(tmp_path):
    failed = session(tmp_path, outcome="SLOWER")
    judged = judge([failed], result())
    assert outcome(judged) is Outcome.INCOMPARABLE
    assert "the case was SLOWER in that run" in judged.findings[-1].reason
    accepted = dataclasses.replace(failed, is_accepted=True)
    assert outcome(judge([accepted], result())) is Outcome.PASS


def test_what_was_accepted_before_a_meant_change_no_longer_counts(tmp_path):
    first, second = session(tmp_path, number=1), session(tmp_path, number=2)
    changed = dataclasses.replace(second, level_changed=(CASE,))
    third = session(tmp_path, number=3)
    history = judge([first, changed, third], result()).history
    assert [saved is None for saved in history] == [True, False, False]


def test_nothing_asked_nothing_compared():
    judged = Gate(Comparison(), None, MemoryLimits()).judge(CASE, result())
    assert judged.findings == ()
    assert judged.history == ()


def test_the_nearest_machine_shares_the_most_parts():
    here = "mps--apple-m4--16gib--macos-26--torch-2.13--power-normal"
    near = "mps--apple-m4--16gib--macos-26--torch-2.12--power-normal"
    far = "mps--apple-m1--8gib--macos-15--torch-2.12--power-normal"
    assert count_shared_parts(here, near) > count_shared_parts(here, far)


def references_of(workload, precision="bf16"):
    """Make references of one picture, with floors for a precision."""
    pictured = ImageRequest("red apple", 0)
    key = workload.image_key(pictured)
    entry = ReferenceEntry(key, pictured.prompt, pictured.seed, "a.png", "d" * 64, 5.0)
    floors = {precision: Floors(0.99, 0.97, 0.1, "measured", worst_tile_psnr_db=45.0)}
    return ReferenceImages(Path("unused"), ReferenceList("c" * 64, (entry,), {}, floors))


def test_floors_that_were_measured_with_other_steps_do_not_judge():
    """A bf16 picture of five steps fell below the floors of twenty in every unchanged session."""
    score = scores("fp32-sync", ssim=0.985, tile=0.96)
    measured = measurement(variant=Variant("bf16"), images=(image(scores=(score,)),))
    workload = measured.workload
    own = Gate(Comparison(), references_of(workload), None)
    assert own.judge(CASE, CaseResult(measured, {})).findings[-1].outcome is Outcome.DEGRADED
    fewer = dataclasses.replace(workload, num_inference_steps=5)
    assert not references_of(workload).holds_for(fewer)
    of_fewer = dataclasses.replace(measured, workload=fewer)
    assert own.judge(CASE, CaseResult(of_fewer, {})).findings[-1].outcome is Outcome.PASS
    wrong = dataclasses.replace(
        of_fewer, images=(image(scores=(scores("fp32-sync", ssim=0.9, tile=0.5),)),)
    )
    assert own.judge(CASE, CaseResult(wrong, {})).findings[-1].outcome is Outcome.DEGRADED


def test_floors_hold_for_other_prompts_and_seeds_of_the_same_settings():
    workload = measurement().workload
    other = dataclasses.replace(workload, prompts=("a house", "a car"), seed=7)
    assert references_of(workload).holds_for(other)


def test_floors_of_the_model_do_not_hold_what_a_subject_returned_in_its_place():
    far = image(scores=(scores("fp32-sync", ssim=0.985, tile=0.96),))
    measured = measurement(images=(far,), variant=Variant("bf16"))
    foreign = dataclasses.replace(measured, is_the_models=False)
    gate = Gate(Comparison(), references_of(measured.workload), None)
    judged = [gate.judge(CASE, CaseResult(one, {})).findings for one in (measured, foreign)]
    assert [findings[-1].outcome for findings in judged] == [Outcome.DEGRADED, Outcome.PASS]


def judge_half(variant, ssim, against="bf16-sync"):
    far = image(scores=(scores(against, ssim=ssim, tile=ssim),))
    measured = measurement(images=(far,), variant=variant)
    gate = Gate(Comparison(), references_of(measured.workload, "fp16"), None)
    return [one.outcome for one in gate.judge(CASE, CaseResult(measured, {})).findings]


def test_where_fp32_does_not_fit_images_are_held_against_the_widest_that_did():
    """Floors of the model were measured against fp32, and do not hold between 16-bit formats."""
    other = Variant("fp16")
    assert judge_half(other, 0.985) == [Outcome.PASS]
    assert judge_half(other, 0.5) == [Outcome.DEGRADED]
    assert judge_half(other, 0.985, "fp32-sync") == [Outcome.DEGRADED]


def test_floors_that_were_measured_against_that_reference_hold_beside_it():
    """A model that was calibrated without fp32 is judged by its own floors where that repeats."""
    far = image(scores=(scores("bf16-sync", ssim=0.97, tile=0.97),))
    measured = measurement(images=(far,), variant=Variant("fp16"))
    references = references_of(measured.workload, "fp16")

    def judge(precision):
        listed = dataclasses.replace(references.listed, reference_precision=precision)
        gate = Gate(Comparison(), dataclasses.replace(references, listed=listed), None)
        return [one.outcome for one in gate.judge(CASE, CaseResult(measured, {})).findings]

    assert judge("bf16") == [Outcome.DEGRADED], "its own floor is stricter"
    assert judge("fp32") == [Outcome.PASS]


def test_the_reference_itself_is_held_against_nothing_and_its_like_by_tight_floors():
    assert judge_half(Variant("bf16"), 1.0) == []
    assert judge_half(Variant("bf16", mode="async"), 0.9) == [Outcome.DEGRADED]
    assert judge_half(Variant("bf16", mode="async"), 1.0) == [Outcome.PASS]
