import dataclasses
import shlex

import pytest

from sdperf.ab.sides.matrix import parse_cases
from sdperf.judging.settling import suggest_ab
from sdperf.models.sampling import preset_for
from sdperf.record.workload import Variant
from tests.support.measurements import ENVIRONMENT, WORKLOAD, measurement

PRESET = preset_for("embedded")
PLAIN = dataclasses.replace(
    WORKLOAD,
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


@pytest.mark.parametrize(("before", "now"), [(None, "b" * 40), ("a" * 40, None), ("a", "a")])
def test_where_nothing_is_known_to_differ_there_is_nothing_to_hold_against(before, now):
    assert suggest_ab(made(before), made(now)) is None


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"subject": "mine:fast"}, ["--subject", "mine:fast"]),
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
