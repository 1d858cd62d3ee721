"""Life stories of what is seen inside a run: guards, resources, stages, traces."""

import json

import pytest

# Imported here, so that pytester finds this very module and not a fresh one.
import sdperf.run.machine
from sdperf.measure.fitness.conditions import Conditions
from tests.support.stories import unwrap

STAGES = """
import pytest

@pytest.mark.sd_matrix("precision")
@pytest.mark.parametrize("stage", ["encode_prompt", "denoise", "decode_latents", "deliver"])
def test_stage(sd_benchmark, stage):
    sd_benchmark.stage(stage)
"""

WHOLE = """
from diffusers import StableDiffusionPipeline

class Own(StableDiffusionPipeline):
    def __call__(self, *arguments, **named):
        return super().__call__(*arguments, **named)

def whole(request):
    pipeline = request.load()
    own = Own(**pipeline.components, requires_safety_checker=False)
    own.set_progress_bar_config(disable=True)
    return own
"""

DARKER_VAE = """
def darker(request):
    pipeline = request.load()
    decode = pipeline.vae.decode

    def dark(*arguments, **named):
        return (decode(*arguments, **named)[0] * 0.2 - 0.5,)

    pipeline.vae.decode = dark
    return pipeline
"""


@pytest.fixture
def machine(monkeypatch):
    """Let the machine's condition be what a test says, reading by reading; the last one stays."""

    def be(*readings):
        left = list(readings)

        def read(kind, **_named):
            changes = left.pop(0) if len(left) > 1 else left[0]
            return Conditions(**{"platform": "linux", "device_kind": kind} | changes)

        monkeypatch.setattr(sdperf.run.machine, "read_conditions", read)

    return be


def records(pytester, name="run.json"):
    document = json.loads((pytester.path / name).read_text())
    for benchmark in document["benchmarks"]:
        assert benchmark["stats"]["data"] == benchmark["extra_info"]["sdperf"]["rounds_s"]
    return [benchmark["extra_info"]["sdperf"] for benchmark in document["benchmarks"]]


def test_a_disturbed_round_does_not_count_and_is_measured_again(
    bench, pytester, machine, unwatched
):
    quiet, swapping = {"swapped_out_bytes": 0}, {"swapped_out_bytes": 8192}
    machine(quiet, quiet, quiet, swapping)  # at rest, before, before and after the first round
    result = bench("-k", "latency", "--benchmark-json=run.json", guards="warn")
    assert result.ret == 0
    (record,) = records(pytester)
    (excluded,) = record["guards"]["excluded"]
    assert len(record["rounds_s"]) == 2
    assert excluded["duration_s"] not in record["rounds_s"]
    assert excluded["reason"] == "8.00 KiB were swapped out"
    result.stdout.fnmatch_lines(
        ["excluded and measured again: 1 round of latency*: 8.00 KiB were swapped out"]
    )


def test_a_machine_that_never_holds_still_gives_no_number(bench, pytester, machine, unwatched):
    machine(*({"swapped_out_bytes": 4096 * reading} for reading in range(100)))
    result = bench("-k", "latency", "--benchmark-json=run.json", guards="warn")
    assert result.ret == 1
    unwrap(result).fnmatch_lines(["UnfitError: *3 invalid rounds*", "*1 INCONCLUSIVE"])
    assert not records(pytester)


def test_strict_refuses_what_warn_only_shows_and_off_does_not_look_at(
    bench, pytester, machine, unwatched
):
    machine({"power_source": "battery"})
    strict = bench("-k", "latency", guards="strict")
    assert strict.ret == 1
    unwrap(strict).fnmatch_lines(["UnfitError: *battery*", "1 case: 1 INCONCLUSIVE"])
    assert "clock governor unknown" in strict.stdout.str()
    warn = bench("-k", "latency", "--benchmark-json=run.json", guards="warn")
    assert warn.ret == 0
    warn.stdout.fnmatch_lines(
        ["guard fail  power source: battery:*", "*next: plug it in", "guards unknown here: *"]
    )
    (record,) = records(pytester)
    states = {guard["name"]: guard["state"] for guard in record["guards"]["before"]}
    assert states["power source"] == "fail"
    off = bench("-k", "latency", "--benchmark-json=off.json", guards="off")
    assert off.ret == 0
    assert "guards: off, nobody looked at whether the machine was fit" in off.outlines
    assert off.stdout.str().count("guard") == 1
    (record,) = records(pytester, "off.json")
    assert record["guards"] == {
        "policy": "off",
        "before": [],
        "during": [],
        "after": [],
        "excluded": [],
        "allowed": [],
    }


def test_strict_measures_once_what_cannot_be_known_is_allowed_by_name(
    bench, pytester, machine, unwatched
):
    machine({"available_share": 0.9, "swapped_out_bytes": 0, "load_per_core": 0.1, "niceness": 0})
    unread = ("power-source", "clock-governor", "thermal-throttling", "virtual-machine")
    allow = ",".join(["strict", *(f"allow={name}" for name in unread)])
    refused = bench("-k", "latency", guards=allow)
    unwrap(refused).fnmatch_lines(["UnfitError: it cannot be known *steal unknown*allow=steal*"])
    assert refused.ret == 1
    result = bench("-k", "latency", "--benchmark-json=run.json", guards=f"{allow},allow=steal")
    assert result.ret == 0
    (record,) = records(pytester)
    assert record["guards"]["allowed"] == sorted([*unread, "steal"])


def test_the_record_holds_resources_stages_and_limits(bench, pytester):
    result = bench("-v", "-k", "latency", "--benchmark-json=run.json")
    (record,) = records(pytester)
    usage, stages, limits = record["resources"], record["stages"], record["limits"]
    assert usage["images"] >= 1
    assert usage["tree_rss_bytes"]["peak"] > 2**20
    assert len(usage["tree_rss_bytes"]["values"]) <= 200
    assert usage["gpu_soc_power_w"] is None
    known = [stages[f"{cost['stage']}_s"] for cost in limits["stages"]]
    assert sum(known) + stages["rest_s"] == pytest.approx(stages["total_s"], abs=1e-12)
    denoise = next(cost for cost in limits["stages"] if cost["stage"] == "denoise")
    assert denoise["flop"] > 0
    assert denoise["share_of_peak"] > 0
    assert denoise["reading"] in ("compute-bound", "launch-bound", "starved")
    assert limits["peak"]["format"] == "fp32"
    result.stdout.fnmatch_lines(
        [
            "stages of one image of latency[[]fp32-sync-1w], 1 thread; peak * GFLOP/s (fp32*",
            "  stage * seconds * share * GFLOP * of peak  reading",
            "  denoise *",
            "  rest *",
            "resources, from watched rounds *",
            "  RSS: of the workers and pytest; *",
        ]
    )


def test_stages_alone_run_once_a_precision_and_deliver_the_known_image(bench, pytester):
    pytester.makepyfile(test_bench=STAGES)
    bench("--benchmark-json=run.json", mode="sync,async").assert_outcomes(passed=4)
    found = records(pytester)
    assert [one["stage"] for one in found] == [
        "encode_prompt",
        "denoise",
        "decode_latents",
        "deliver",
    ]
    assert {one["kind"] for one in found} == {"stage"}
    assert len({one["images"][0]["sha256"] for one in found}) == 1
    plain = found[0]["images"][0]["scores"][0]
    assert (plain["against"], plain["identical"]) == ("fp32-sync", True)


def test_a_faster_but_worse_stage_fails(bench, pytester, unwatched):
    pytester.makepyfile(test_bench=STAGES, subjects=DARKER_VAE)
    bench("-k", "decode_latents", "--benchmark-autosave").assert_outcomes(passed=1)
    worse = bench(
        "-k", "decode_latents", "--benchmark-compare", subject="subjects:darker",
        max_slowdown="100000%",
    )  # fmt: skip
    assert worse.ret == 1
    worse.stdout.fnmatch_lines(["DEGRADED*"])


def test_a_pipeline_that_runs_whole_has_its_stage_cases_skipped_with_the_reason(bench, pytester):
    pytester.makepyfile(test_bench=STAGES, subjects=WHOLE)
    result = bench("-rs", subject="subjects:whole")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*Own is called whole: its stages cannot be measured alone"])


def test_an_unknown_stage_is_one_message(bench, pytester):
    pytester.makepyfile(test_bench="def test_it(sd_benchmark):\n    sd_benchmark.stage('vae')\n")
    result = bench()
    assert result.ret == 1
    unwrap(result).fnmatch_lines(
        ["ConfigurationError: there is no such stage; got: vae; *denoise*"]
    )


def test_a_trace_is_written_once_and_the_run_goes_on(bench, pytester):
    result = bench("--sd-trace=trace.json")
    result.assert_outcomes(passed=2)
    events = json.loads((pytester.path / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == "denoise" for event in events) == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("guards", "lax", "*--sd-guards cannot be used; got: 'lax'*strict, warn, off*"),
        ("guards", "strict,allow=mood", "*--sd-guards*strict,allow=NAME*clock-governor*"),
        ("guards", "strict,clock-governor", "*--sd-guards*strict,allow=NAME*"),
        ("guards", "warn,allow=load", "*--sd-guards*only beside strict*"),
        ("trace", "no/such/folder/trace.json", "*--sd-trace*a folder that exists*"),
    ],
)
def test_a_bad_option_is_one_usage_error(bench, option, value, message):
    refused = bench(**{option: value})
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([message])


def test_disabled_benchmarks_watch_and_count_nothing(bench, pytester):
    result = bench("--benchmark-disable")
    assert result.ret == 0
    assert "stages of one image" not in result.stdout.str()
