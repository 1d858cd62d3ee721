"""Gains through pytest: measured in turns, judged, recorded; unasked, they cost little."""

import dataclasses
import json

import pytest

from sdperf.judging.session.comparison import Comparison
from sdperf.judging.session.gate import Gate
from sdperf.record.json import parse_measurement
from sdperf.record.measurement import Gain
from sdperf.record.verdict import Outcome
from sdperf.record.workload import Variant
from sdperf.run.case import CaseResult
from sdperf.suite import list_suite_files
from tests.support.measurements import image, measurement, scores

GAINS = """
import pytest

@pytest.mark.sd_matrix("precision", "optimisations")
def test_gain(sd_gain):
    sd_gain.latency()

@pytest.mark.sd_matrix("precision", "optimisations")
def test_stream_gain(sd_gain):
    sd_gain.throughput()
"""


@pytest.fixture
def gains(bench, pytester):
    for file in pytester.path.glob("test_*.py"):
        file.unlink()
    pytester.makepyfile(test_optimised=GAINS)
    return bench


@pytest.mark.long
def test_a_gain_is_measured_on_two_workers_and_recorded(gains, pytester):
    result = gains(
        "--sd-optimisations=device_loop+stored_png",
        "--sd-scheduler=DDIMScheduler",
        "--sd-unwatched",
        "--benchmark-json=run.json",
        "-k=test_gain",
        in_process=False,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "sdperf gain?fp32-device_loop+stored_png?: * times as fast as the plain *",
            "gain[[]fp32-device_loop+stored_png[]]: * times as fast as plain*",
        ]
    )
    (saved,) = json.loads((pytester.path / "run.json").read_text())["benchmarks"]
    record = saved["extra_info"]["sdperf"]
    made = parse_measurement(record)
    assert made.variant.optimisations == ("device_loop", "stored_png")
    assert made.gain.against == Variant()
    assert len(made.gain.plain_rounds_s) == len(made.rounds_s) == 2
    assert made.images[0].score("plain").identical
    assert made.stages is None
    assert made.resources is None
    assert record["verdict"]["outcome"] == "PASS"


def test_unasked_a_cpu_measures_no_gain_and_says_why(gains, hosts):
    result = gains("-rs", spawned=True)
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        ["*nothing is on by default on cpu: name some with --sd-optimisations*"]
    )


def test_one_process_cannot_hold_two_sides(gains):
    result = gains("--sd-optimisations=device_loop", "-k=test_gain")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a gain needs two processes*"])


def test_what_cannot_be_combined_is_refused_before_anything_runs(gains):
    result = gains("--sd-optimisations=compile+compile_blocks")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--sd-optimisations cannot be used*not both*"])


@pytest.mark.parametrize(
    "name",
    [
        "loop_graph",
        "cuda_graphs",
        "flash_attention3",
        "sage_attention",
        "sdpa_cudnn",
        "compile+float8_blocks",
    ],
)
def test_what_the_device_lacks_is_refused_before_anything_is_loaded(
    hosts, bench, monkeypatch, name
):
    monkeypatch.setattr("sdperf.plugin.opening.require_installed", lambda *_: None)
    result = bench(f"--sd-optimisations=none,{name}", "-k=latency", spawned=True, device="cpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    refused = name.rpartition("+")[2]
    result.stderr.fnmatch_lines([f"ERROR: {refused} cannot be used on cpu: *CUDA*"])
    result.stderr.no_fnmatch_line("*ended early*")
    assert hosts.rounds == 0


@pytest.mark.parametrize("arguments", [["-k=other"], ["--sd-optimisations=none"]])
def test_what_no_selected_case_or_no_user_names_is_not_refused(
    hosts, bench, pytester, monkeypatch, arguments
):
    looks = []
    check = "sdperf.pipeline.optimisations.catalogue.check_device"
    monkeypatch.setattr(check, lambda *named: looks.append(named))
    pytester.makepyfile(
        test_bench="""
import pytest

@pytest.mark.sd_matrix("precision")
def test_other(sd_benchmark):
    sd_benchmark.latency()

def test_named(sd_benchmark):
    sd_benchmark.latency()
"""
    )
    result = bench("--sd-optimisations=loop_graph", *arguments, spawned=True, device="cpu")
    assert result.ret == 0
    assert looks == []


SKIPPING = """
import pytest

@pytest.mark.sd_matrix("precision", skips={"fp32": "that is test_other"})
def test_not_in_fp32(sd_benchmark):
    sd_benchmark.latency()

@pytest.mark.sd_matrix("precision")
def test_other(sd_benchmark):
    sd_benchmark.latency()

@pytest.mark.sd_matrix("precision")
def test_soaked(sd_benchmark):
    sd_benchmark.soak()
"""


def test_what_will_certainly_be_skipped_is_not_counted_beforehand(hosts, bench, pytester):
    pytester.makepyfile(test_bench=SKIPPING)
    result = bench("-rs", "-k=not_in_fp32 or other or soaked", spawned=True, device="cpu")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*that is test_other*", "*a soak takes minutes*"])
    result.stdout.fnmatch_lines(["sdperf*1 case, 1 model load, about *"])
    result.stdout.fnmatch_lines(["3 cases: * 2 skipped"])
    kept = json.loads((pytester.path / ".sdperf" / "last-run.json").read_text())["sdperf"]
    assert sorted(kept["skipped"].values()) == [
        "a soak takes minutes: --sd-soak 10m",
        "that is test_other",
    ]
    assert not set(kept["skipped"]) & set(kept["outcomes"])


def test_benchmarks_spread_over_what_was_asked_for_and_over_nothing_unasked(bench):
    result = bench("--collect-only", "-q", "--sd-optimisations=none,stored_png", "-k=latency")
    result.stdout.fnmatch_lines(["*1w-none]", "*1w-stored_png]"])
    assert "none" not in bench("--collect-only", "-q").stdout.str()


def test_threads_that_were_asked_for_hold_for_each_case_of_the_suite(bench, pytester):
    for file in list_suite_files():
        (pytester.path / file.name).write_bytes(file.read_bytes())
    everything = ("--collect-only", "-q", "-k=not quality", "--sd-engine=torch,onnx")
    asked = bench(*everything, "--sd-threads=1", "--sd-optimisations=none,stored_png")
    cases = [line for line in asked.outlines if "::" in line and "test_bench" not in line]
    assert {case.partition("::")[2].partition("[")[0] for case in cases} >= {
        *("test_latency_gain", "test_latency_gain_over_fp32", "test_throughput_gain"),
        *("test_engine_latency_gain", "test_latency", "test_throughput", "test_soak"),
    }
    assert [case for case in cases if "1t" not in case] == []
    assert "1t" not in bench(*everything).stdout.str()


@pytest.mark.parametrize(
    ("optimisations", "precision", "ssim", "outcome"),
    [
        (("channels_last",), "fp32", 0.981, Outcome.PASS),
        (("channels_last",), "fp32", 0.979, Outcome.DEGRADED),
        (("channels_last",), "fp16", 0.96, Outcome.PASS),
        (("channels_last",), "fp16", 0.94, Outcome.DEGRADED),
        (("device_loop", "step_cache2"), "fp32", 0.91, Outcome.PASS),
        (("device_loop", "step_cache2"), "fp32", 0.89, Outcome.DEGRADED),
    ],
)
def test_images_are_held_to_the_floor_of_what_is_on(optimisations, precision, ssim, outcome):
    made = dataclasses.replace(
        measurement(),
        variant=Variant(precision=precision, optimisations=optimisations),
        images=(image(scores=(scores("plain", ssim=ssim, tile=0.96),)),),
        gain=Gain(Variant(), 2.0, 1.9, 2.1, 0.75, (1.0,) * 6, 1),
    )
    gate = Gate(Comparison(), references=None, memory=None)
    judged = gate.judge("case", CaseResult(made, {}))
    plain = [one for one in judged.findings if one.gate == "image" and "plain" in one.reason]
    assert [one.outcome for one in plain] == [outcome]
