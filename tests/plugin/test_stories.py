"""Life stories of a benchmark suite, told through pytester."""

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from sdperf.cli import main
from tests.support.stories import unwrap

SCHEMA = Path(__file__).parents[2] / "docs" / "format.schema.json"
SLOW_STEP = """
def slow(request):
    pipeline = request.load()
    forward = pipeline.unet.forward

    def twice(*arguments, **named):
        forward(*arguments, **named)
        return forward(*arguments, **named)

    pipeline.unet.forward = twice
    return pipeline
"""

DAMAGED_VAE = """
import torch

def damaged(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.vae.post_quant_conv.weight.mul_(-1.0)
    return pipeline

def not_a_number(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.vae.post_quant_conv.weight.fill_(float("nan"))
    return pipeline

def flat(request):
    pipeline = request.load()
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.weight.zero_()
        pipeline.vae.decoder.conv_out.bias.fill_(-2.0)
    return pipeline
"""


def saved_runs(pytester):
    return sorted(pytester.path.glob(".benchmarks/*/*.json"))


def test_saved_then_unchanged_then_compared(bench, pytester):
    first = bench("--benchmark-autosave")
    first.assert_outcomes(passed=2)
    assert first.ret == 0
    (saved,) = saved_runs(pytester)
    document = json.loads(saved.read_text())
    assert len(document["benchmarks"]) == 2
    schema = json.loads(SCHEMA.read_text())
    for benchmark in document["benchmarks"]:
        record = benchmark["extra_info"]["sdperf"]
        jsonschema.validate(record, schema)
        assert benchmark["stats"]["data"] == record["rounds_s"]
        assert record["seconds_per_image"] > 0
        assert record["load_s"] > 0
        assert record["first_call_s"] > 0
        assert record["repeatable"] is True
        assert record["environment"]["packages"]["torch"]
        for image in record["images"]:
            png = (saved.parent / "images" / f"{image['sha256']}.png").read_bytes()
            assert hashlib.sha256(png).hexdigest() == image["sha256"]
            assert image["entropy_bits"] > 0

    second = bench("--benchmark-compare", max_slowdown="100000%")
    assert second.ret == 0
    second.stdout.fnmatch_lines(["*latency*sync*PASS", "2 cases: 2 PASS"])
    assert len(saved_runs(pytester)) == 1


def test_a_slowed_step_turns_the_run_red_and_is_not_saved(bench, script, pytester):
    script.unet_call_s = 0.1
    pytester.makepyfile(subjects=SLOW_STEP)
    bench("--benchmark-autosave").assert_outcomes(passed=2)
    slow = bench("--benchmark-compare", "--benchmark-autosave", subject="subjects:slow", confirm=0)
    assert slow.ret == 1
    slow.stdout.fnmatch_lines(
        [
            "SLOWER  latency*",
            "2 cases: 2 SLOWER",
            "not saved: a run with a failure is never a baseline",
        ]
    )
    assert len(saved_runs(pytester)) == 1


def test_a_damaged_vae_is_degraded_not_slower(bench, pytester, script):
    pytester.makepyfile(subjects=DAMAGED_VAE)
    bench("--benchmark-autosave").assert_outcomes(passed=2)
    damaged = bench("--benchmark-compare", subject="subjects:damaged", max_slowdown="100000%")
    assert damaged.ret == 1
    damaged.stdout.fnmatch_lines(
        ["DEGRADED  latency*SSIM*", "*against the baseline, floor*", "*2 DEGRADED"]
    )


@pytest.mark.parametrize(
    ("subject", "reason"), [("not_a_number", "NaN or infinity"), ("flat", "black frame")]
)
def test_a_broken_image_fails_even_the_first_run(bench, pytester, subject, reason, script):
    pytester.makepyfile(subjects=DAMAGED_VAE)
    broken = bench("--benchmark-autosave", subject=f"subjects:{subject}")
    assert broken.ret == 1
    broken.stdout.fnmatch_lines([f"BROKEN*{reason}*"])
    assert not saved_runs(pytester)


def test_the_first_run_has_no_baseline_and_strict_makes_that_red(bench, script):
    first = bench()
    assert first.ret == 0
    first.stdout.fnmatch_lines(["nothing was compared: --benchmark-autosave keeps a run, *"])
    strict = bench("--sd-strict")
    assert strict.ret == 1
    strict.stdout.fnmatch_lines(["2 cases: 2 NO BASELINE"])


def test_cases_that_differ_by_their_files_alone_are_told_apart(bench, script, pytester):
    for path in pytester.path.glob("test_*.py"):
        path.unlink()
    source = "def test_speed(sd_benchmark):\n    sd_benchmark.latency()\n"
    pytester.makepyfile(test_one=source, test_two=source)
    said = bench()
    said.stdout.fnmatch_lines(["test_one.py::test_speed[[]*", "test_two.py::test_speed[[]*"])


def test_another_workload_under_the_same_name_is_incomparable(bench, script):
    bench("--benchmark-autosave")
    changed = bench("--benchmark-compare", "--benchmark-autosave", steps=3)
    assert changed.ret == 1
    changed.stdout.no_fnmatch_line("nothing was compared: --benchmark-autosave*")
    changed.stdout.fnmatch_lines(
        [
            "nothing was compared: * cannot judge any of the 2 cases; *",
            "INCOMPARABLE  latency*",
            "*workload: steps was 2 and is 3",
        ]
    )
    # Nothing failed in it, so it was saved, and the next one can be compared.
    assert bench("--benchmark-compare", steps=3).ret == 0


def test_what_is_not_timed_is_not_said_to_be_uncomparable(bench, script):
    bench("--benchmark-autosave")
    untimed = bench("--benchmark-compare", "--benchmark-disable", steps=3)
    assert untimed.ret == 0
    untimed.stdout.no_fnmatch_line("nothing was compared*")


def test_two_speeds_do_not_hide_that_nothing_was_compared(bench, script):
    latency = ("-k", "latency")
    bench("--benchmark-autosave", *latency, processes=3)
    script.drift = lambda made: 1.8 if made % 12 in range(5, 9) else 1.0  # 4 calls a process
    changed = bench("--benchmark-compare", *latency, "--sd-html=r.html", steps=3, processes=3)
    assert changed.ret == 1
    changed.stdout.fnmatch_lines(["nothing was compared: * cannot judge the case; *"])
    assert main(["replay", "r.html"]) == 1


def test_a_renamed_case_has_no_baseline(bench, pytester, script):
    bench("--benchmark-autosave")
    pytester.makepyfile(test_bench="def test_speed(sd_benchmark):\n    sd_benchmark.latency()\n")
    renamed = bench("--benchmark-compare", "--sd-strict")
    assert renamed.ret == 1
    renamed.stdout.fnmatch_lines(["NO BASELINE*no compared run holds*", "*--benchmark-auto*"])


def test_modes_deliver_the_same_bytes(bench, pytester, unwatched):
    bench("--benchmark-json=run.json", mode="sync,async").assert_outcomes(passed=4)
    document = json.loads((pytester.path / "run.json").read_text())
    by_kind = {}
    for benchmark in document["benchmarks"]:
        record = benchmark["extra_info"]["sdperf"]
        by_kind.setdefault(record["kind"], []).append(
            [image["sha256"] for image in record["images"]]
        )
    for sync, asynchronous in by_kind.values():
        assert sync == asynchronous
    assert list((pytester.path / "images").glob("*.png"))


def test_disabled_benchmarks_still_judge_images(bench, pytester, script):
    pytester.makepyfile(subjects=DAMAGED_VAE)
    assert bench("--benchmark-disable").ret == 0
    assert bench("--benchmark-disable", subject="subjects:not_a_number").ret == 1


def test_a_missing_model_is_one_message_before_anything_runs(bench):
    missing = bench(model="./nowhere")
    assert missing.ret == 4
    missing.stderr.fnmatch_lines(["ERROR: the model './nowhere' does not exist*"])
    assert "Traceback" not in missing.stdout.str() + missing.stderr.str()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("precision", "fp8", "*--sd-precision cannot be used; got: 'fp8'*fp32, fp16, bf16*"),
        ("workers", "0", "*--sd-workers*"),
        ("threads", "0", "*--sd-threads*comma list; each: a whole number, 1 to 1024*"),
        ("steps", "many", "*--sd-steps*a whole number, 1 to 10000*"),
        ("size", "big", "*--sd-size*WIDTHxHEIGHT*"),
        ("size", "33x32", "*--sd-size*got: '33x32'*multiples of 8*do: pytest --help*"),
        ("size", "0x0", "*--sd-size*got: '0x0'*multiples of 8*"),
        ("seed", str(2**64), "*--sd-seed*a whole number, 0 to 9223372036854710271*"),
        ("max-slowdown", "-3%", "*--sd-max-slowdown*above 0*"),
        ("device", "tpu", "*--sd-device*auto, mps, cuda, cpu*"),
        ("prompts", "absent.txt", "*absent.txt*"),
        ("workers", "2", "*1 with --sd-in-process*"),
    ],
)
def test_a_bad_option_is_one_usage_error(bench, option, value, message):
    refused = bench(**{option: value})
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([message])


def test_a_failing_pipeline_is_one_message_without_a_traceback(bench, pytester, unwatched):
    pytester.makepyfile(
        subjects="""
        def failing(request):
            pipeline = request.load()
            def fail(*arguments, **named):
                raise RuntimeError("out of luck")
            pipeline.unet.forward = fail
            return pipeline
        """
    )
    failed = bench(subject="subjects:failing")
    assert failed.ret == 1
    failed.stdout.fnmatch_lines(
        ["GenerationError: the pipeline failed; got: RuntimeError: out of*"]
    )
    failed.stdout.fnmatch_lines(["2 cases: 2 BROKEN"])
    assert "Traceback" not in failed.stdout.str()


def test_ini_settings_have_the_options_names(bench, pytester, tiny_folder, script):
    pytester.makeini(
        f"[pytest]\nsd_model = {tiny_folder('smallest-sd')}\nsd_steps = 1\nsd_rounds = 1\n"
    )
    result = bench(
        "-k", "latency", "--benchmark-json=run.json", model=None, steps=None, rounds=None
    )
    assert result.ret == 0
    (benchmark,) = json.loads((pytester.path / "run.json").read_text())["benchmarks"]
    assert benchmark["stats"]["rounds"] == 1
    assert benchmark["extra_info"]["sdperf"]["workload"]["num_inference_steps"] == 1


def test_sessions_without_our_fixtures_are_left_alone(pytester):
    pytester.makepyfile("def test_it(benchmark):\n    benchmark(sum, (1, 2))\n")
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "--benchmark-min-rounds=1", "--benchmark-max-time=0.01"
    )
    assert result.ret == 0
    assert "sdperf ==" not in result.stdout.str()
    assert not (pytester.path / ".sdperf").exists()


def test_without_pytest_benchmark_other_tests_run(pytester):
    pytester.makepyfile("def test_it():\n    pass\n")
    assert pytester.runpytest_inprocess("-p", "no:benchmark", "-p", "no:cacheprovider").ret == 0


def test_automatic_cases_that_do_not_suit_are_skipped_with_the_flag_to_force_them(
    bench, pytester, script
):
    pytester.makeconftest(
        """
        import sdperf.run.suite
        sdperf.run.suite.count_cpu_threads = lambda: 1
        import sdperf.device.cpu
        sdperf.device.cpu.read_cpu_native_precisions = lambda: ()
        """
    )
    result = bench("-k", "latency", "-rs", precision="auto")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*fp16 is emulated*force with --sd-precision fp16"])


def test_threads_of_a_worker_are_cases_of_their_own(bench, pytester, script):
    result = bench(
        "-k", "latency", "-rs", "--benchmark-json=run.json", threads="1,3", workers="auto"
    )
    document = json.loads((pytester.path / "run.json").read_text())
    records = {one["name"]: one["extra_info"]["sdperf"] for one in document["benchmarks"]}
    assert {name: one["worker_threads"] for name, one in records.items()} == {
        "test_latency[fp32-sync-1w-1t]": 1
    }
    result.stdout.fnmatch_lines(["*1 worker of 3 threads on 1 performance core; force with*"])


def test_named_workers_have_as_many_threads_as_are_named(bench, pytester, script):
    bench("-k", "latency", "--benchmark-json=run.json", threads="3", workers="1")
    (one,) = json.loads((pytester.path / "run.json").read_text())["benchmarks"]
    record = one["extra_info"]["sdperf"]
    assert (record["variant"]["threads"], record["worker_threads"]) == (3, 3)


def test_only_runs_ours_under_benchmark_only(bench, script):
    bench("--benchmark-only").assert_outcomes(passed=2)


def test_under_xdist_every_case_fails_with_the_reason(bench):
    result = bench("-n", "1", in_process=False)
    assert result.ret == 1
    unwrap(result).fnmatch_lines(["*benchmarks cannot run under xdist*leave -n out*"])


def test_progress_is_plain_lines_where_there_is_no_terminal(bench, script):
    bench("-k", "latency").stdout.fnmatch_lines(
        ["sdperf latency?fp32-sync-1w?: * per image, 2 rounds (*"]
    )


@pytest.mark.long
def test_progress_passes_pytests_own_capture(bench):
    result = bench("-k", "latency", in_process=False)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["sdperf latency?fp32-sync-1w?: * per image, 2 rounds (*"])


def test_all_output_fits_100_columns(bench, pytester, script):
    pytester.makepyfile(subjects=DAMAGED_VAE)
    bench("--benchmark-autosave")
    text = bench("--benchmark-compare", subject="subjects:damaged").stdout.str()
    ours = text[text.index(" sdperf ") :]
    assert max(map(len, ours.splitlines())) <= 100
