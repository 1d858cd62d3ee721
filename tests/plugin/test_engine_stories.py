"""Engines as a dimension of a run: names that stay, reasons, one message, the others go on."""

import json

import pytest

from sdperf.engines.catalogue import ENGINES
from sdperf.judging.floors import ENGINE_FLOORS, FEWER_BITS_FLOORS, choose_gain_floors, loosen_for
from sdperf.record.json import parse_measurement
from sdperf.record.workload import Variant
from sdperf.store.runs import read_run
from tests.support.toy_engine import ToyEngine, toy_choice

LATENCY = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()
"""

QUALITY = """
def test_components(sd_quality):
    sd_quality.components()

def test_trajectory(sd_quality):
    sd_quality.trajectory()
"""

GAIN = """
import pytest

@pytest.mark.sd_matrix("precision", "engine")
def test_gain(sd_gain):
    sd_gain.latency()
"""


@pytest.fixture
def toys(monkeypatch, tmp_path):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ToyEngine, "prepared", 0)
    real = dict(ENGINES)
    choices = (
        toy_choice(),
        toy_choice("toy-broken", options={"fault": "convert"}),
        toy_choice("toy-absent", packages=(("sdperf-toy",),)),
        toy_choice("toy-foreign", foreign={"cpu": "it is made for the nursery"}),
        toy_choice("toy-single", precisions=("fp16",)),
        toy_choice("toy-coarse", in_auto=False, fewer_bits=True),
    )
    for name in real.keys() - {"torch"}:
        del ENGINES[name]
    ENGINES.update({choice.name: choice for choice in choices})
    yield
    ENGINES.clear()
    ENGINES.update(real)  # in their order, which option texts follow


def read_cases(path):
    return {one["name"]: one["extra_info"] for one in json.loads(path.read_text())["benchmarks"]}


def test_torch_keeps_its_name_beside_another_engine(bench, script, toys, pytester):
    pytester.makepyfile(test_bench=LATENCY)
    result = bench("--benchmark-json=run.json", engine="torch,toy")
    result.assert_outcomes(passed=2)
    cases = read_cases(pytester.path / "run.json")
    assert list(cases) == ["test_latency[fp32-sync-1w]", "test_latency[fp32-sync-1w-toy]"]
    plain, toy = (parse_measurement(each["sdperf"]) for each in cases.values())
    assert (plain.engine, plain.variant) == (None, Variant())
    assert toy.variant == Variant(engine="toy")
    assert (toy.engine.name, toy.engine.provider) == ("toy", "ToyProvider")
    assert toy.limits is None
    assert toy.images[0].score("fp32-sync").identical
    assert toy.images[0].sha256 == plain.images[0].sha256


def test_unasked_nothing_has_another_name_than_before(bench, script, toys, pytester):
    pytester.makepyfile(test_bench=LATENCY)
    result = bench("--collect-only", "-q")
    result.stdout.fnmatch_lines(["*::test_latency[[]fp32-sync-1w[]]"])
    result.stdout.no_fnmatch_line("*toy*")


def test_quality_follows_its_own_pipeline_before_another_engine_takes_its_place(
    bench, script, toys, pytester
):
    pytester.makepyfile(test_bench=GAIN + LATENCY + QUALITY)
    result = bench(
        "--collect-only", "-q", "-k", "not broken and not single and not absent and not foreign"
    )
    names = [line.rpartition("::")[2] for line in result.outlines if "::" in line]
    assert names == [
        "test_latency[fp32-sync-1w]",
        "test_components[fp32]",
        "test_trajectory[fp32]",
        "test_gain[fp32-toy]",
    ]


def test_auto_skips_with_reasons_what_is_not_installed_or_not_native(bench, script, toys, pytester):
    pytester.makepyfile(test_bench=LATENCY)
    result = bench(engine="auto")
    result.assert_outcomes(passed=2, skipped=4)
    text = " ".join(result.stdout.str().split()).replace("- ", "-")
    assert "sdperf-toy missing): pip install 'sdperf[toy]'" in text
    assert (
        "the engine toy-foreign is not native on cpu: it is made for the nursery; force with "
        "--sd-engine toy-foreign"
    ) in text
    assert "the engine toy-single cannot run fp32" in text
    assert "toy-coarse" not in text


def test_one_that_cannot_is_one_message_and_the_others_go_on(bench, script, toys):
    absent = bench("-q", engine="toy-broken,toy-absent,torch,toy")
    assert absent.ret == 4
    absent.stderr.fnmatch_lines(["*pip install 'sdperf?toy?'*"])
    assert ToyEngine.prepared == 0, "what is not installed is said before anything is made"
    result = bench("-q", engine="toy-broken,torch,toy")
    result.assert_outcomes(passed=4, failed=2)
    lines = result.stdout.str().splitlines()
    assert ToyEngine.prepared == 3, "what failed once is not tried again"
    assert any("the unet cannot be made a toy; got: aten::fancy" in line for line in lines)
    assert not any("Traceback" in line for line in lines)


def test_an_engine_that_is_none_is_refused_before_the_run(bench, script, toys):
    result = bench(engine="tensorflow")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--sd-engine cannot be used*expected: one of auto, torch*, not 'tensorflow'*"]
    )


def test_a_gain_about_engines_takes_all_others_unasked(bench, hosts, toys, pytester):
    pytester.makepyfile(test_bench=GAIN)
    result = bench(spawned=True)
    result.assert_outcomes(passed=1, skipped=4)
    result.stdout.fnmatch_lines(
        [
            "gain[[]fp32-toy[]]: 1.00 times as fast as plain*",
            "*toy: * of plain fp32 in turns; SSIM 1.*",
        ]
    )


def test_the_quality_suite_holds_an_engine_against_torch(bench, script, toys, pytester):
    pytester.makepyfile(test_bench=QUALITY)
    result = bench(engine="toy,toy-coarse")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["components?fp32-toy? * PASS", "trajectory?fp32-toy? * PASS"])
    result.stdout.fnmatch_lines(["*toy-coarse stores weights in fewer bits*"])
    (kept, _) = read_run(pytester.path / ".sdperf/last-run.json").quality
    assert kept.case.endswith("test_components[fp32-toy]")
    assert kept.seen.against == "plain fp32 on the same cpu"
    assert all(one.identical for one in kept.seen.distances)


def test_floors_know_what_an_engine_promises(toys):
    plain = Variant()
    assert choose_gain_floors(Variant(engine="toy"), plain) is ENGINE_FLOORS
    assert choose_gain_floors(Variant(engine="toy-coarse"), plain) is FEWER_BITS_FLOORS
    assert loosen_for(Variant(engine="toy"), ENGINE_FLOORS) is ENGINE_FLOORS
    assert loosen_for(Variant(engine="toy-coarse"), ENGINE_FLOORS) is FEWER_BITS_FLOORS
    assert choose_gain_floors(Variant("fp16", engine="toy"), Variant("fp16")).ssim == 0.98
    assert choose_gain_floors(Variant("fp16", engine="toy"), plain).ssim == 0.95
