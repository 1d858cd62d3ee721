import dataclasses

from sdperf.record.guard import Guard
from sdperf.record.measurement import ExcludedRound, GuardLog, MemoryUsage
from sdperf.record.stages import DeviceLimits, PeakRate, StageCost, StageTimes
from sdperf.record.usage import Curve, ResourceUsage
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.record.workload import Variant
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.inside import (
    format_guards,
    format_resources,
    format_stages,
    format_telling,
)
from sdperf.report.text.wrapping import WIDTH
from tests.support.measurements import measurement

STAGES = StageTimes(2.0, 0.1, 0.2, 1.0, 0.4, 0.2, (0.2, 0.5, 0.3))
LIMITS = DeviceLimits(
    PeakRate("fp32", 2e12, 2048, 4),
    1e-5,
    (
        StageCost("denoise", 803_273_000_000, 2000, 8.03e11, 0.4016, "compute-bound"),
        StageCost("deliver", 0, 0),
    ),
)


def curve(value):
    return Curve(value, value, value, value, 1, (0.0,), (value,))


def row(case="latency[fp32-sync-1w]", **changes):
    fields = {"stages": STAGES, "limits": LIMITS, "worker_threads": 4}
    verdict = Verdict(case, (Finding(Outcome.PASS, "latency", "fine"),))
    return Row(case, verdict, measurement(**fields | changes), None)


def texts(lines):
    return [line.text for line in lines]


def test_the_stage_table_has_seconds_shares_work_and_the_reading():
    lines = texts(format_stages([row()]))
    assert " ".join(" ".join(lines[1:3]).split()) == (
        "stages of one image of latency[fp32-sync-1w], 4 threads; "
        "peak 2000 GFLOP/s (fp32 matrix product, side 2048)"
    )
    by_stage = {line.split()[0]: line.split() for line in lines[4:]}
    assert by_stage["denoise"] == (
        ["denoise", "1.00", "s", "50.0", "%", "803", "40.2", "%", "compute-bound"]
    )
    assert by_stage["deliver"][-3:] == ["-", "-", "-"]
    assert by_stage["rest"][1:5] == ["100", "ms", "5.0", "%"]
    assert lines[-1] == "  3 steps of denoise: fastest 200 ms, slowest 500 ms"


def test_a_disturbed_image_is_named_below_its_stages():
    seconds = row().measurement.seconds_per_image

    def doubts(total_s, **changes):
        stages = dataclasses.replace(STAGES, total_s=total_s)
        found = " ".join(" ".join(texts(format_stages([row(stages=stages, **changes)]))).split())
        words = {
            "its shares are those of a disturbed image": "this image",
            "the timed ones were the disturbed ones, and their shares may be others": "the others",
        }
        return [meant for said, meant in words.items() if said in found]

    assert not doubts(seconds)
    assert not doubts(1.19 * seconds)
    assert doubts(1.3 * seconds) == ["this image"]
    assert doubts(0.7 * seconds) == ["the others"]
    assert not doubts(5 * seconds, variant=Variant(workers=2))
    assert not doubts(5 * seconds, variant=Variant(mode="async")), "the image is drawn in sync"


def test_stages_that_exceed_their_image_are_explained_and_leave_no_rest():
    def tell(**stages):
        return " ".join(" ".join(texts(format_stages([row(stages=StageTimes(**stages))]))).split())

    told = tell(total_s=1.0, encode_prompt_s=0.5, denoise_s=1.2)
    assert "the stages add up to 170.0 % of the image by the word of its program" in told
    assert " rest " not in told
    told = tell(total_s=1.0, encode_prompt_s=0.4, denoise_s=0.6 + 1e-9)
    assert "add up" not in told
    assert " rest " in told


def test_a_share_above_the_peak_is_explained():
    def tell(share):
        cost = dataclasses.replace(LIMITS.stages[0], share_of_peak=share)
        limits = dataclasses.replace(LIMITS, stages=(cost, *LIMITS.stages[1:]))
        return " ".join(" ".join(texts(format_stages([row(limits=limits)]))).split())

    assert "above 100 % of the peak: fast convolutions multiply less often" in tell(1.02)
    assert "above 100 %" not in tell(0.99)


def test_stages_are_shown_once_a_precision_for_the_fewest_workers():
    rows = [
        row("throughput[fp32-sync-2w]", variant=Variant(workers=2), worker_threads=2),
        row(),
        row("latency[fp16-sync-1w]", variant=Variant(precision="fp16")),
    ]
    titles = [line for line in texts(format_stages(rows)) if line.startswith("stages")]
    assert [title.split(";")[0] for title in titles] == [
        "stages of one image of latency[fp32-sync-1w], 4 threads",
        "stages of one image of latency[fp16-sync-1w], 4 threads",
    ]


def test_without_limits_the_seconds_remain():
    lines = texts(format_stages([row(limits=None)]))
    assert "peak" not in lines[1]
    assert any(line.split()[0] == "denoise" and line.endswith("-") for line in lines[3:])
    assert format_stages([row(stages=None)]) == []


def test_resources_show_only_what_somebody_knows():
    usage = ResourceUsage(
        window_s=1.0, images=2, tree_cpu_percent=curve(150.0), tree_rss_bytes=curve(2**30)
    )
    scope, header, line = texts(format_resources([row(resources=usage)]))[2:]
    assert scope.strip().startswith("RSS: of the workers and pytest; ")
    assert header.split() == ["case", "CPU", "RSS"]
    assert line.split() == ["latency[fp32-sync-1w]", "150", "%", "1.00", "GiB"]
    board = dataclasses.replace(usage, gpu_board_power_w=curve(350.0), gpu_board_energy_j=700.0)
    memory = MemoryUsage(peak_device_bytes=2**31)
    line = texts(format_resources([row(resources=board, memory=memory)]))[-1]
    assert line.split()[-6:] == ["2.00", "GiB", "350", "W", "350", "J"]
    assert format_resources([row()]) == []


def test_guards_say_what_is_wrong_once_and_which_rounds_do_not_count():
    hot = Guard("thermal level", "fail", "heavy", "the chip lowers its clocks", "let it cool down")
    ok = Guard("swap", "ok", None, "counted")
    unknown = Guard("clock governor", "unknown", None, "cannot be read")
    log = GuardLog("warn", (hot, ok, unknown), (), (hot,), (ExcludedRound(1.0, "swapped"),) * 2)
    lines = texts(format_guards([row(guards=log), row("other", guards=log)]))
    assert lines == [
        "",
        "guard fail  thermal level: heavy: the chip lowers its clocks (every case)",
        "    next: let it cool down",
        "guards unknown here: clock governor (see sdperf doctor)",
        "excluded and measured again: 2 rounds of latency[fp32-sync-1w]: swapped",
        "excluded and measured again: 2 rounds of other: swapped",
    ]
    assert format_guards([row(guards=GuardLog("warn", (ok,)))]) == []


def test_a_guard_that_spoke_in_some_cases_names_them_and_its_hint_is_said_once():
    def log(sentence):
        return GuardLog("warn", (Guard("load", "warn", "2", sentence, "close other programs"),))

    rows = [row("a", guards=log("x")), row("b", guards=log("x")), row("c", guards=log("y"))]
    assert texts(format_guards(rows)) == [
        "",
        "guard warn  load: 2: x (a, b)",
        "    next: close other programs",
        "guard warn  load: 2: y (c)",
    ]


def telling(outcome, *, is_verbose=False):
    usage = ResourceUsage(window_s=1.0, images=2, tree_cpu_percent=curve(150.0))
    one = row(resources=usage)
    stages = dataclasses.replace(STAGES, total_s=one.measurement.seconds_per_image)
    measured = dataclasses.replace(one.measurement, stages=stages)
    verdict = Verdict(one.case, (Finding(outcome, "latency", "seen"),))
    rows = [dataclasses.replace(one, verdict=verdict, measurement=measured)]
    text = "\n".join(texts(format_telling(rows, is_verbose=is_verbose)))
    return "stages of one image" in text, "resources, from" in text, "-v shows them" in text


def test_stages_and_resources_are_shown_where_something_changed_or_all_are_asked_for():
    for outcome in (Outcome.SLOWER, Outcome.FASTER, Outcome.HEAVIER):
        assert telling(outcome) == (True, True, False)
    for outcome in (Outcome.PASS, Outcome.NO_BASELINE, Outcome.DEGRADED):
        assert telling(outcome) == (False, False, True)
        assert telling(outcome, is_verbose=True) == (True, True, False)
    assert format_telling([row(stages=None)], is_verbose=False) == []


def test_the_stages_of_a_disturbed_image_are_shown_with_their_doubt():
    stages = dataclasses.replace(STAGES, total_s=9.0)
    shown = texts(format_telling([row(stages=stages)], is_verbose=False))
    assert any("its shares are those of a disturbed image" in line for line in shown)


def test_everything_fits_the_width():
    usage = ResourceUsage(
        window_s=1.0,
        images=1,
        tree_cpu_percent=curve(12800.0),
        tree_rss_bytes=curve(1e12),
        system_available_bytes=curve(1e12),
        gpu_board_utilisation_percent=curve(100.0),
        gpu_board_power_w=curve(1000.0),
        gpu_board_energy_j=123456.0,
    )
    peak = dataclasses.replace(LIMITS.peak, flop_per_s=9.87e17, format="tf32")
    full = row(
        "a_very_long_case_name[" * 4,
        resources=usage,
        memory=MemoryUsage(peak_device_bytes=10**12),
        limits=dataclasses.replace(LIMITS, peak=peak),
        guards=GuardLog("warn", (Guard("x" * 30, "warn", "y " * 60, "z " * 60, "w " * 60),)),
    )
    lines = [*format_stages([full]), *format_resources([full]), *format_guards([full])]
    assert max(len(line.text) for line in lines) <= WIDTH


def test_guards_that_were_off_are_told():
    (line,) = format_guards([row(guards=GuardLog("off")), row(guards=None)])
    assert line.text == "guards: off, nobody looked at whether the machine was fit"
    assert not format_guards([row(guards=GuardLog("warn"))])
