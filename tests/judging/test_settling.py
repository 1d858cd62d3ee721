import dataclasses
import shlex

import pytest

from sdperf.ab.sides.matrix import parse_cases
from sdperf.judging.settling import (
    Typed,
    advise_accepting,
    name_baselines,
    suggest_ab,
    suggest_calibrate,
    suggest_repeat,
)
from sdperf.models.sampling import preset_for
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import (
    DEFAULT_PICTURE_SHA256,
    DEFAULT_PROMPTS,
    InputPicture,
    Variant,
)
from tests.support.measurements import ENVIRONMENT, WORKLOAD, measurement

PRESET = preset_for("embedded")
PLAIN = dataclasses.replace(
    WORKLOAD,
    prompts=DEFAULT_PROMPTS,
    num_inference_steps=PRESET.num_inference_steps,
    guidance_scale=PRESET.guidance_scale,
)


def made(commit, packages=None, **changes):
    environment = dataclasses.replace(
        ENVIRONMENT, commit=commit, packages=packages or {"torch": "2.13.0"}
    )
    return measurement(**{"environment": environment, "workload": PLAIN} | changes)


@pytest.mark.parametrize(
    ("before", "now", "is_here", "command"),
    [
        ("a" * 40, "b" * 40, False, f"sdperf ab {'a' * 12} {'b' * 12}"),
        ("a" * 40, "b" * 40, True, f"sdperf ab {'a' * 12} ."),
        ("a" * 40, "b" * 40 + "-dirty", False, f"sdperf ab {'a' * 12} ."),
        ("a" * 40, "a" * 40 + "-dirty", False, f"sdperf ab {'a' * 12} ."),
    ],
)
def test_two_commits_are_held_against_each_other(before, now, is_here, command):
    suggested = suggest_ab(made(before), made(now), is_here=is_here)
    assert suggested == f"{command} --cases 'latency[fp32-sync-1w]'"


def test_uncommitted_changes_of_the_baseline_are_said_to_be_lost():
    suggested = suggest_ab(made("a" * 40 + "-dirty"), made("b" * 40))
    assert suggested.startswith(f"sdperf ab {'a' * 12} {'b' * 12} --cases")
    assert suggested.endswith("(the baseline had uncommitted changes, which are lost)")


def test_packages_alone_are_two_environments():
    old, new = made("a" * 40, {"torch": "2.12.0"}), made("a" * 40, {"torch": "2.13.0"})
    assert suggest_ab(old, new) == (
        "sdperf ab --python OLD/bin/python --python NEW/bin/python "
        "--cases 'latency[fp32-sync-1w]' (what differs: torch 2.12.0 against 2.13.0)"
    )
    both = suggest_ab(old, made("b" * 40, {"torch": "2.13.0"}))
    assert both.startswith(f"sdperf ab {'a' * 12} {'b' * 12} --python OLD/bin/python")


@pytest.mark.parametrize(
    ("before", "now", "sides"),
    [
        (None, "mine:slow", "--b subject=mine:slow"),
        ("mine:old", None, "--a subject=mine:old"),
        ("mine:old", "mine:slow", "--a subject=mine:old --b subject=mine:slow"),
        ("mine:slow", "mine:slow", "--cases 'latency[fp32-sync-1w]' --subject mine:slow"),
    ],
)
def test_each_side_runs_the_subject_that_it_was_measured_with(before, now, sides):
    suggested = suggest_ab(made("a" * 40, subject=before), made("b" * 40, subject=now))
    assert suggested.startswith(f"sdperf ab {'a' * 12} {'b' * 12} {sides}")
    assert suggested.count("subject") == sides.count("subject")


@pytest.mark.parametrize(("before", "now"), [(None, "b" * 40), ("a" * 40, None), ("a", "a")])
def test_where_nothing_is_known_to_differ_there_is_nothing_to_hold_against(before, now):
    assert suggest_ab(made(before), made(now)) is None


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"subject": "mine:fast"}, ["--b", "subject=mine:fast"]),
        ({"workload": dataclasses.replace(PLAIN, seed=3)}, ["--both", "seed=3"]),
        (
            {"workload": dataclasses.replace(PLAIN, num_inference_steps=4, width=64, height=32)},
            ["--both", "steps=4,size=64x32"],
        ),
        ({"workload": dataclasses.replace(PLAIN, model="./a b")}, ["--model", "./a b"]),
        ({"kind": "throughput", "images_per_round": 8}, ["--batch", "8"]),
        (
            {"variant": Variant("fp16", engine="onnx", optimisations=("batch2", "stored_png"))},
            [
                "latency[fp16-sync-1w]",
                "engine=onnx,optimisations=batch2+stored_png",
            ],
        ),
        ({"variant": Variant(threads=3)}, ["latency[fp32-sync-1w]", "--both", "threads=3"]),
        (
            {"workload": dataclasses.replace(PLAIN, scheduler="DDIMScheduler", guidance_scale=1.5)},
            ["guidance=1.5,scheduler=DDIMScheduler"],
        ),
        (
            {"workload": dataclasses.replace(PLAIN, negative_prompt="dull, grey")},
            ["negative_prompt=dull, grey"],
        ),
    ],
)
def test_the_very_case_is_measured(changes, options):
    words = shlex.split(suggest_ab(made("a" * 40), made("b" * 40, **changes)))
    assert [word for word in options if word not in words] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": Variant(precision="bf16", mode="async", workers=2)},
        {"kind": "throughput", "images_per_round": 4},
        {"kind": "stage", "stage": "denoise"},
        {"variant": Variant(engine="onnx")},
        {"variant": Variant(threads=3)},
    ],
)
def test_the_cases_name_is_one_that_ab_knows(changes):
    words = shlex.split(suggest_ab(made("a" * 40), made("b" * 40, **changes)))
    (case,) = parse_cases(words[words.index("--cases") + 1])
    assert case.kind == changes.get("kind", "latency")
    assert case.variant.precision == changes.get("variant", Variant()).precision


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        ("external:mflux=sh -c 'touch /tmp/spy'", "external:mflux"),
        ("external:$(touch /tmp/spy)", "external:NAME"),
        ("external:a b=touch spy", "external:NAME"),
    ],
)
def test_the_command_of_a_saved_run_is_never_printed_to_copy(engine, named):
    variant = Variant("fp32", engine=engine)
    now = made("b" * 40, variant=variant)
    note = f"({named} is the command that you use for this program)"
    for step in (suggest_repeat("t.py::a", now), suggest_ab(made("a" * 40), now)):
        assert "touch" not in step
        assert f"engine={named} " in f"{step} ".replace("--sd-engine ", "engine=")
        assert step.endswith(note)
    typed = Typed(options=("--sd-engine", engine))
    for step in (
        suggest_repeat("t.py::a", now, typed),
        suggest_ab(made("a" * 40), now, typed=typed),
    ):
        assert "touch" in step
        assert "you use" not in step


def test_prompts_and_device_are_said_where_they_are_known_and_asked_for_where_not():
    before = made("a" * 40)
    own = made("b" * 40, workload=dataclasses.replace(PLAIN, prompts=("a red kite",)))
    assert suggest_ab(before, own).endswith("(add the session's prompts: --both prompts=FILE)")
    typed = suggest_ab(before, own, typed=Typed(prompts="my.txt", device="cpu"))
    assert typed.endswith(" --both prompts=my.txt --device cpu")


def test_a_case_is_measured_again_as_its_record_tells_where_nothing_typed_is_known():
    workload = dataclasses.replace(
        PLAIN, model="./a b", num_inference_steps=4, width=64, height=32, scheduler="DDIMScheduler"
    )
    variant = Variant("fp16", workers=3, threads=2, engine="onnx")
    measured = made(None, workload=workload, variant=variant, subject="mine:fast")
    words = shlex.split(suggest_repeat("t.py::test_a[fp16-sync-3w]", measured))
    assert words[:5] == ["pytest", "t.py::test_a[fp16-sync-3w]", "--benchmark-compare", *words[3:5]]
    pairs = dict(zip(words[3::2], words[4::2], strict=True))
    assert pairs == {
        "--sd-processes": "5",
        "--sd-model": "./a b",
        "--sd-steps": "4",
        "--sd-guidance": f"{PRESET.guidance_scale:g}",
        "--sd-size": "64x32",
        "--sd-scheduler": "DDIMScheduler",
        "--sd-subject": "mine:fast",
        "--sd-precision": "fp16",
        "--sd-workers": "3",
        "--sd-threads": "2",
        "--sd-engine": "onnx",
    }
    assert suggest_repeat("t.py::foreign", None) == (
        "pytest t.py::foreign --benchmark-compare --sd-processes 5"
    )


def test_floors_are_measured_on_the_device_and_prompts_of_the_session():
    words = suggest_calibrate(PLAIN, "fp16", Typed(prompts="my.txt", device="cuda"))
    assert words == ("sdperf quality calibrate --precision fp16 --device cuda --prompts my.txt")


def test_a_session_is_accepted_into_the_folder_that_it_was_compared_with():
    step = "sdperf baseline accept --reason TEXT to keep it"
    assert name_baselines(step, Typed(baselines="my runs")) == (
        "sdperf baseline accept --baselines 'my runs' --reason TEXT to keep it"
    )
    assert name_baselines(step, Typed()) == step
    assert name_baselines(None, Typed(baselines="x")) is None


def test_a_case_that_failed_is_accepted_as_an_intended_change():
    changed = Finding(
        Outcome.CHANGED, "exactness", "so", "if meant: sdperf baseline accept --reason TEXT; more"
    )
    worse = Finding(Outcome.DEGRADED, "image", "so", "open it")
    assert advise_accepting([changed]) == (changed,)
    advised, other = advise_accepting([changed, worse])
    assert advised.next_step == (
        "if meant: sdperf baseline accept --reason TEXT --intended-change; more"
    )
    assert other == worse
    assert advise_accepting([advised, worse]) == (advised, worse), "said once"
    assert name_baselines(advised.next_step, Typed(baselines="my runs")) == (
        "if meant: sdperf baseline accept --baselines 'my runs' --reason TEXT --intended-change; "
        "more"
    )
    broken = Finding(Outcome.BROKEN, "image", "NaN")
    assert advise_accepting([changed, broken])[0].next_step is None, "it is never accepted"


def test_what_is_drawn_from_stands_in_the_commands_and_lost_files_are_said():
    own = InputPicture("ab" * 32, strength=0.5, task="image-to-image")
    one = made("a" * 40, workload=dataclasses.replace(PLAIN, picture=own))
    suggested = suggest_ab(one, dataclasses.replace(one, environment=made("b" * 40).environment))
    assert "--both task=image-to-image,strength=0.5 " in suggested
    assert suggested.endswith("(add the session's input-image: --both input_image=FILE)")
    assert "--sd-task image-to-image --sd-strength 0.5" in suggest_repeat("case", one)
    shipped = dataclasses.replace(own, sha256=DEFAULT_PICTURE_SHA256)
    known = made("a" * 40, workload=dataclasses.replace(PLAIN, picture=shipped))
    again = dataclasses.replace(known, environment=made("b" * 40).environment)
    assert "FILE" not in suggest_ab(known, again)
    assert suggest_calibrate(known.workload, "fp32") == (
        "sdperf quality calibrate --task image-to-image --strength 0.5 --precision fp32"
    )
    assert suggest_calibrate(one.workload, "fp32") == (
        "sdperf quality calibrate --task image-to-image --strength 0.5 --input-image FILE "
        "--precision fp32"
    )
