"""Each layer's judge on hand-made observations: what it says when all is well, and when not."""

import pytest

from sdperf.images import ComponentDistance, TrajectoryDistance
from sdperf.judging.quality import judge_observation
from sdperf.record.floors import ComponentFloor, Floors
from sdperf.record.observation import (
    ComponentParity,
    ImageParity,
    PictureComponents,
    PictureTrajectory,
    Repeats,
    Soundness,
    TrajectoryParity,
)
from sdperf.record.verdict import Outcome
from sdperf.record.workload import ImageRequest
from sdperf.report.text.session.quality_seen import describe_seen
from tests.support.measurements import image, scores

IMAGE = ImageRequest("red apple", 0)
FLOORS = Floors(
    0.98,
    0.95,
    0.2,
    "test",
    psnr_db=40.0,
    worst_tile_psnr_db=30.0,
    components={"vae": ComponentFloor(50.0, 0.999)},
    trajectory_rms=0.1,
)


def judge(seen, precision="fp32", floors=FLOORS):
    findings = judge_observation(seen, precision, floors, {})
    return findings[0]


def output(component="vae", psnr_db=60.0, cosine=1.0, nonfinite=0, identical=False):
    return ComponentDistance(component, "pixels", psnr_db, cosine, nonfinite, identical)


def trajectory(*rms, nonfinite=None):
    distance = TrajectoryDistance((0.0,) * len(rms), rms, nonfinite)
    return TrajectoryParity("fp32", IMAGE, distance)


def test_sound_images_pass_and_say_how_many_steps_were_watched():
    finding = judge(Soundness((image(), image()), IMAGE, 20, None))
    assert finding.outcome is Outcome.PASS
    assert "2 images sound" in finding.reason
    assert "all 20 steps" in finding.reason


def test_one_image_of_one_step_is_counted_in_the_singular():
    seen = Soundness((image(),), IMAGE, 1, None)
    assert "1 image sound, " in judge(seen).reason
    assert "latents finite at the only step" in judge(seen).reason
    assert describe_seen(seen).startswith("1 image, 1 step, entropy ")


def test_hidden_latents_are_said_to_be_unseen():
    assert "latents unseen" in judge(Soundness((image(),), IMAGE, 0, None)).reason


def test_nan_and_flat_frames_are_broken():
    nan = judge(Soundness((image(),), IMAGE, 20, 0))
    assert (nan.outcome, "step 1 of 20" in nan.reason) == (Outcome.BROKEN, True)
    flat = judge(Soundness((image(faults=("flat frame",)),), IMAGE, 20, None))
    assert flat.outcome is Outcome.BROKEN


def test_repeats_pass_only_as_the_same_pixels_in_one_process():
    same, fresh = scores("same-process"), scores("fresh-process")
    assert judge(Repeats(image(scores=(same, fresh)))).outcome is Outcome.PASS
    off = scores("same-process", ssim=0.9999)
    finding = judge(Repeats(image(scores=(off, fresh))))
    assert finding.outcome is Outcome.DEGRADED
    assert len(finding.exhibits) == 1


@pytest.mark.parametrize(
    ("ssim", "tile", "outcome"),
    [(0.9999, 0.999, Outcome.PASS), (0.97, 0.96, Outcome.DEGRADED), (0.99, 0.5, Outcome.DEGRADED)],
)
def test_a_fresh_process_may_choose_other_kernels_within_the_floor(ssim, tile, outcome):
    fresh = scores("fresh-process", ssim=ssim, tile=tile)
    assert judge(Repeats(image(scores=(scores("same-process"), fresh)))).outcome is outcome


def test_nothing_repeated_is_no_pass():
    assert judge(Repeats(image(scores=()), "no spawn")).outcome is Outcome.INCONCLUSIVE
    told = judge(Repeats(image(scores=(scores("same-process"),)), "not tried here"))
    assert "not tried here" in told.reason


@pytest.mark.parametrize(
    ("distance", "outcome"),
    [
        (output(), Outcome.PASS),
        (output(identical=True, psnr_db=None), Outcome.PASS),
        (output(psnr_db=49.9), Outcome.DEGRADED),
        (output(cosine=0.99), Outcome.DEGRADED),
        (output(psnr_db=None, cosine=None, nonfinite=3), Outcome.BROKEN),
    ],
)
def test_a_component_is_held_to_its_floor(distance, outcome):
    assert judge(ComponentParity("fp32", IMAGE, (distance,))).outcome is outcome


def test_the_worst_component_is_named_and_the_others_are_told():
    seen = ComponentParity("fp32", IMAGE, (output(psnr_db=49.0), output("denoiser", psnr_db=5.0)))
    finding = judge(seen)
    assert finding.reason.startswith("denoiser (pixels): PSNR 5.0 dB (floor 60.0)")
    assert finding.reason.endswith("also below: vae")


def test_components_that_are_all_identical_are_said_so_once():
    same = [output(name, None, identical=True) for name in ("text encoder", "denoiser", "vae")]
    seen = ComponentParity("plain fp32", IMAGE, tuple(same))
    assert judge(seen).reason.startswith("text encoder, denoiser, vae identical against")


def denoiser(psnr_db, rounding_db):
    return ComponentDistance("denoiser", "step 2 of 4", psnr_db, 0.96, 0, False, rounding_db)


def judge_denoiser(distance, floors=None, precision="bf16"):
    return judge(ComponentParity("plain fp32", IMAGE, (distance,)), precision, floors)


def test_a_denoiser_that_is_as_far_as_one_rounding_of_its_time_step_is_left_open():
    finding = judge_denoiser(denoiser(20.8, 18.6))
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert "PSNR 20.8 dB (floor 29.0)" in finding.reason
    assert (
        "rounding the time step to bf16 moves it by as much by itself (18.6 dB)" in finding.reason
    )
    assert "sdperf quality calibrate" in finding.next_step
    assert judge_denoiser(denoiser(12.7, 18.6)).outcome is Outcome.INCONCLUSIVE


def test_a_denoiser_that_is_farther_is_damaged_whatever_its_time_step_does():
    assert judge_denoiser(denoiser(12.5, 18.6)).outcome is Outcome.DEGRADED
    assert judge_denoiser(denoiser(20.8, None)).outcome is Outcome.DEGRADED
    assert judge_denoiser(denoiser(20.8, 40.0)).outcome is Outcome.DEGRADED


def test_a_measured_floor_knows_that_rounding():
    floors = Floors(0.9, 0.8, 0.2, "test", components={"denoiser": ComponentFloor(25.0, 0.9)})
    assert judge_denoiser(denoiser(20.8, 18.6), floors).outcome is Outcome.DEGRADED


def test_no_components_and_no_latents_are_no_pass():
    assert judge(ComponentParity("fp32", IMAGE, ())).outcome is Outcome.INCONCLUSIVE
    assert judge(trajectory()).outcome is Outcome.INCONCLUSIVE


def test_the_first_step_above_the_tolerance_is_named():
    finding = judge(trajectory(0.01, 0.09, 0.2, 0.05))
    assert finding.outcome is Outcome.DEGRADED
    assert "part at step 3 of 4" in finding.reason
    assert judge(trajectory(0.01, 0.09)).outcome is Outcome.PASS
    assert judge(trajectory(0.01, None, nonfinite=1)).outcome is Outcome.BROKEN


OTHER = ImageRequest("a blue car", 1)
SOUND = TrajectoryDistance((0.0,) * 3, (0.0,) * 3, None)


def test_the_worst_of_all_pictures_decides_and_is_named():
    damaged = PictureComponents(OTHER, (output(nonfinite=3, psnr_db=None, cosine=None),))
    weak = PictureComponents(OTHER, (output(psnr_db=49.0),))
    sound = PictureComponents(OTHER, (output(),))
    seen = ComponentParity("fp32", IMAGE, (output(),), others=(weak, damaged, sound))
    finding = judge(seen)
    assert finding.outcome is Outcome.BROKEN
    assert finding.reason.endswith("'a blue car' (seed 1); 2 of 4 pictures fail")
    finding = judge(ComponentParity("fp32", IMAGE, (output(),), others=(sound, sound)))
    assert finding.outcome is Outcome.PASS
    assert finding.reason.endswith("; 3 pictures")


def test_latents_of_a_later_picture_that_part_are_seen():
    apart = PictureTrajectory(OTHER, TrajectoryDistance((0.0,) * 3, (0.01, 0.2, 0.3), None))
    seen = TrajectoryParity("fp32", IMAGE, SOUND, others=(apart,))
    finding = judge(seen)
    assert finding.outcome is Outcome.DEGRADED
    assert "'a blue car' (seed 1): the latents part at step 2 of 3" in finding.reason
    assert describe_seen(seen) == "relative RMS 0.3 at most, at step 3 of 3"


def test_other_steps_and_other_shapes_are_named_and_broken():
    nothing = TrajectoryDistance((), (), None)
    words = "drawn in 18 steps, the reference in 20"
    seen = TrajectoryParity("plain fp32", IMAGE, nothing, words)
    finding = judge(seen)
    assert (finding.outcome, finding.gate) == (Outcome.BROKEN, "image")
    assert finding.reason == f"'red apple' (seed 0): {words} (plain fp32)"
    assert describe_seen(seen) == words
    vae = "the vae gives 64 x 64 x 3 where it gave 128 x 128 x 3"
    finding = judge(ComponentParity("plain fp32", IMAGE, (), vae))
    assert (finding.outcome, vae in finding.reason) == (Outcome.BROKEN, True)


def test_images_without_floors_or_references_are_no_pass():
    seen = ImageParity("reference", (image(scores=()),), ("k",))
    assert judge(seen, floors=None).outcome is Outcome.NO_BASELINE
    assert judge(seen).reason == "the only image has no reference image to be compared with"
    assert judge(seen).outcome is Outcome.NO_BASELINE
    pair = ImageParity("reference", (image(scores=()),) * 2, ("k", "l"))
    assert judge(pair).reason == "2 of 2 images have no reference image to be compared with"


def test_psnr_sees_what_ssim_does_not():
    pale = scores(ssim=0.999, tile=0.999)
    dark = type(pale)(**(vars(pale) | {"psnr_db": 25.0}))
    finding = judge(ImageParity("reference", (image(scores=(dark,)),), ("k",)))
    assert finding.outcome is Outcome.DEGRADED
    assert "PSNR 25.0 dB against the reference, floor 40.0 dB" in finding.reason


def test_a_batch_is_held_to_its_single_images():
    good, bad = (
        image(scores=(scores("single-image"),)),
        image(scores=(scores("single-image", 0.5, 0.1),)),
    )
    assert judge(ImageParity("single-image", (good,), ("k",)), floors=None).outcome is Outcome.PASS
    finding = judge(ImageParity("single-image", (good, bad), ("k", "l")), floors=None)
    assert "against the same image drawn alone, floor" in finding.reason
    assert finding.outcome is Outcome.DEGRADED
