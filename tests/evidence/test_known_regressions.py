"""The list of known regressions: sound entries, commands that exist, a page that is made of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from evidence.known_regressions import (
    _LOWEST,
    PAGE,
    RESULTS,
    Look,
    describe_state,
    format_page,
    judge_sweep,
    read_looks,
    read_regressions,
)
from sdperf.bisect.packages import parse_package_steps
from sdperf.cli import make_parser
from tests.support.bisecting import Machine, Planted
from tests.support.sweeping import name_versions, run_sweep, summarise, sweep_question

ROOT = Path(__file__).parents[2]
LISTED = read_regressions()
VERSIONS = name_versions(2)


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.id)
def test_each_names_its_thread_two_versions_and_a_command_that_can_be_typed(one):
    assert one.url.startswith("https://github.com/")
    assert one.url.endswith(f"/{one.id.partition('#')[2]}")
    parsed = make_parser(["sweep"]).parse_args(one.arguments)
    assert len(parse_package_steps(parsed.python_package)) == 2


def test_there_are_eight_and_more_of_each_aspect_and_none_twice():
    assert len({one.id for one in LISTED}) == len(LISTED) >= 8
    assert {one.aspect for one in LISTED} == {"speed", "memory", "pictures"}
    packages = {"torch", "diffusers", "transformers", "onnxruntime", "mlx"}
    assert packages <= {one.package for one in LISTED}


def test_what_sdperf_runs_is_what_its_own_requirements_say():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package, lowest in _LOWEST.items():
        assert re.search(rf'"{package}>={re.escape(lowest)}[",.]', text), package


def test_the_page_is_made_of_the_list_and_of_what_was_kept():
    looks = read_looks(ROOT / RESULTS)
    made = format_page(LISTED, looks)
    assert (ROOT / PAGE).read_text(encoding="utf-8") == made, (
        "python -m evidence.known_regressions page"
    )
    assert {*looks} <= {one.id for one in LISTED}


def test_nothing_is_found_that_was_not_run_by_this_very_command():
    one = next(one for one in LISTED if one.fits)
    look = Look(one.id, one.command, "found", "said", "chip", "2026-11-30", "1")
    assert describe_state(one, {}) == "not tried yet"
    assert describe_state(one, {one.id: look}) == "found"
    assert describe_state(one, {one.id: replace(look, command="another")}) == "not tried yet"
    gpu = replace(one, needs="gpu")
    assert describe_state(gpu, {}) == "needs a GPU"
    assert describe_state(replace(gpu, before="1.19.0"), {}) == (
        "needs a GPU and older versions than sdperf runs"
    )
    assert (
        describe_state(replace(one, before="1.19.0"), {}) == "needs older versions than sdperf runs"
    )


@pytest.mark.parametrize(
    ("aspect", "planted", "noise", "state"),
    [
        ("speed", Planted(slowdown=0.2), 0.004, "found"),
        ("speed", Planted(slowdown=-0.2), 0.004, "missed"),
        ("speed", Planted(), 0.004, "missed"),
        ("speed", Planted(slowdown=0.03), 0.05, "open"),
        ("memory", Planted(grown_mib=300), 0.004, "found"),
        ("memory", Planted(), 0.004, "missed"),
        ("pictures", Planted(image=True), 0.004, "found"),
        ("pictures", Planted(), 0.004, "missed"),
        ("pictures", Planted(refuses=True), 0.004, "cannot be run"),
    ],
)
def test_a_sweep_is_judged_by_what_the_thread_says(tmp_path, aspect, planted, noise, state):
    machine = Machine({VERSIONS[0]: Planted(), VERSIONS[1]: planted}, noise=noise)
    summary = summarise(run_sweep(tmp_path, sweep_question(VERSIONS), machine))
    answer, said = judge_sweep(replace(LISTED[0], aspect=aspect), summary)
    assert answer == state, said
    assert said
