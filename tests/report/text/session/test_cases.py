import dataclasses

import pytest

from sdperf.record.stages import StageTimes
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.record.workload import Variant
from sdperf.report.text.session.cases import (
    Overlap,
    Row,
    describe_overlap,
    find_overlaps,
    format_ceilings,
    format_counts,
    format_findings,
    format_table,
    put_changed_first,
)
from sdperf.report.text.wrapping import WIDTH
from tests.support.measurements import image, measurement, scores


def row(outcome=Outcome.PASS, case="latency[fp32-sync-1w]", change=None, measured=None):
    finding = Finding(outcome, "image", "what was seen, " * 12, "type this")
    return Row(case, Verdict(case, (finding,)), measured or measurement(), change)


def test_the_table_shows_each_case_with_its_scores():
    measured = measurement(images=(image(scores=(scores(ssim=0.987654, tile=0.9),)),))
    header, line = format_table([row(change=1.234, measured=measured)])
    assert header.text.split()[:3] == ["case", "s/image", "images/s"]
    for part in ("1.00 s", "+23.4 %", "0.9876", "0.9000", "5.00 bit", "PASS"):
        assert part in line.text


def test_a_case_without_a_measurement_has_dashes():
    broken = dataclasses.replace(row(Outcome.BROKEN), measurement=None)
    line = format_table([broken])[1]
    assert line.text.split()[1:7] == ["-"] * 6
    assert line.colour == "red"


def test_a_compared_run_is_shown_rather_than_a_laxer_reference():
    images = (image(scores=(scores("fp32-sync", 1.0), scores("baseline", 0.5, 0.4))),)
    assert "0.5000" in format_table([row(measured=measurement(images=images))])[1].text


def test_what_several_findings_of_a_case_advise_is_said_once_below_the_last():
    reasons, others = ("the colour is off", "a tile is off"), ("it is slow",)
    findings = [Finding(Outcome.DEGRADED, "image", reason, "look at it") for reason in reasons]
    findings += [Finding(Outcome.DEGRADED, "time", reason, "be patient") for reason in others]
    rows = [Row("latency", Verdict("latency", tuple(findings)), measurement(), None)]
    rows += [Row("batch", Verdict("batch", tuple(findings[:1])), measurement(), None)]
    lines = [line.text for line in format_findings(rows)]
    assert [line for line in lines if line.startswith("    next")] == [
        "    next: look at it",
        "    next: look at it",
        "    next: be patient",
    ]
    assert [line.split(": ")[1] for line in lines if line.startswith("DEGRADED")] == [
        "the colour is off",
        "a tile is off",
        "it is slow",
    ]


def test_everything_fits_the_width():
    rows = [row(Outcome.DEGRADED, "a_very_long_name_of_a_case_" * 3, 123.0)]
    lines = [*format_table(rows), *format_findings(rows), *format_ceilings(rows)]
    assert max(len(line.text) for line in lines) <= WIDTH


def test_findings_say_what_to_do_and_passes_are_silent():
    assert format_findings([row()]) == []
    text = "\n".join(line.text for line in format_findings([row(Outcome.SLOWER)]))
    assert text.startswith("SLOWER  latency[fp32-sync-1w]: what was seen")
    assert text.endswith("next: type this")


def test_what_changed_comes_first_and_equals_keep_their_order():
    outcomes = ["PASS", "FASTER", "NO BASELINE", "INCONCLUSIVE", "SLOWER", "CHANGED", "BROKEN"]
    rows = [row(Outcome(one), f"case-{number}") for number, one in enumerate(outcomes)]
    order = [one.case[-1] for one in put_changed_first(rows)]
    assert "".join(order) == "4635102"


def test_cases_whose_names_are_cut_stay_apart():
    names = [f"latency[fp32-sync-1w-outside-{one}]" for one in ("flux-1", "flux-2")]
    lines = [line.text for line in format_table([row(Outcome.PASS, name) for name in names])]
    assert [line.split()[0] for line in lines[1:]] == names  # a line has room for them
    names = [name.replace("fp32", "fp32-compile+channels_last") for name in names]
    lines = [line.text for line in format_table([row(case=name) for name in names])]
    shown = [line.split()[0] for line in lines[1:]]
    assert len(set(shown)) == 2
    assert all("..." in name for name in shown)
    assert max(map(len, lines)) == WIDTH


def test_a_message_that_pytest_has_shown_is_cut_to_what_is_wrong():
    finding = Finding(Outcome.BROKEN, "worker", "WorkerError: it died; got: -9; do: look")
    broken = [Row("latency", Verdict("latency", (finding,)), None, None)]
    (line,) = format_findings(broken, is_above=True)
    assert line.text == "BROKEN  latency: WorkerError: it died; the whole message is above"
    assert "do: look" in " ".join(one.text for one in format_findings(broken))
    verdict = [row(Outcome.SLOWER)]
    assert format_findings(verdict, is_above=True) == format_findings(verdict)


def test_the_counts_add_up():
    rows = [row(), row(Outcome.SLOWER), row()]
    assert format_counts(rows, 2) == "5 cases: 1 SLOWER, 2 PASS, 2 skipped"


def test_a_ceiling_says_of_how_many_threads_it_is():
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, 0.1)
    sync = measurement(kind="throughput", images_per_round=4, rounds_s=(4.0,), stages=stages)
    rows = [
        row(measured=dataclasses.replace(sync, variant=Variant(mode=mode, threads=threads)))
        for threads in (1, 2)
        for mode in ("sync", "async")
    ]
    one, two = (line.text for line in format_ceilings(rows))
    assert one.startswith("async throughput fp32 1w 1t: saved 0.0 %")
    assert two.startswith("async throughput fp32 1w 2t: saved 0.0 %")


def test_a_gain_of_async_names_what_runs_the_networks():
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, 0.1)
    sync = measurement(kind="latency", images_per_round=1, rounds_s=(1.0,), stages=stages)
    rows = [
        row(
            measured=dataclasses.replace(
                sync, variant=Variant(mode=mode, engine=engine, optimisations=names)
            )
        )
        for engine, names in (("torch", ()), ("torch", ("keep_freed_memory",)), ("openvino", ()))
        for mode in ("sync", "async")
    ]
    said = [line.text for line in format_ceilings(rows) if line.text.startswith("async")]
    assert [text.partition(":")[0] for text in said] == [
        "async latency fp32 1w",
        "async latency fp32 1w with keep_freed_memory",
        "async latency fp32 1w openvino",
    ]


def test_async_gain_stands_beside_its_ceiling():
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, 0.1)
    sync = measurement(kind="throughput", images_per_round=4, rounds_s=(4.0,), stages=stages)
    faster = dataclasses.replace(sync, variant=Variant(mode="async"), rounds_s=(3.6,))
    (line,) = format_ceilings([row(measured=sync), row(measured=faster)])
    said = "saved 10.0 % of sync's time; 11.3 % can overlap at most"
    assert line.text == f"async throughput fp32 1w: {said}"


FULL = "no core is idle"


@pytest.mark.parametrize(
    ("gain", "ceiling", "noise", "said"),
    [
        (0.1, 0.113, 0.02, "saved 10.0 % of sync's time; 11.3 % can overlap at most"),
        (-0.01, 0.113, 0.02, "saved -1.0 % of sync's time; 11.3 % can overlap at most"),
        (-0.3, 0.113, 0.02, "took 30.0 % longer than sync, where 11.3 % can overlap at most"),
        (0.2, 0.113, 0.02, "saved 20.0 % of sync's time, where 11.3 % can overlap at most: the "
         "rest is chance, or other work"),
        (-1.238, 0.0, 0.02, f"nothing to overlap on this machine ({FULL}); async took 2.24 times "
         "as long as sync"),
        (-0.3, 0.0, 0.02, f"nothing to overlap on this machine ({FULL}); async took 30.0 % longer "
         "than sync"),
        (0.115, 0.0, 0.02, f"nothing to overlap on this machine ({FULL}); that it saved 11.5 % of "
         "sync's time is chance, or other work"),
        (0.01, 0.03, 0.04, f"nothing to overlap on this machine ({FULL}); async and sync differ by "
         "1.0 %, no more than rounds do"),
    ],
)  # fmt: skip
def test_what_async_came_to_is_said_in_words_where_there_is_nothing_to_overlap(
    gain, ceiling, noise, said
):
    assert describe_overlap(Overlap(measurement(), gain, ceiling, noise, FULL)) == said


@pytest.mark.parametrize(
    ("deliver_s", "images", "threads", "rounds_s", "obstacle", "noise"),
    [
        (0.1, 1, 1, (4.0,), "no round has a next image to hide behind", 0.02),
        (0.1, 4, 8, (4.0,), "no core is idle", 0.02),
        (0.01, 4, 1, (4.0,), "94.0 % of an image is the device's work", 0.02),
        (0.01, 4, 1, (3.6, 4.0, 4.4), "94.0 % of an image is the device's work", 0.1),
    ],
)
def test_an_overlap_knows_what_is_in_its_way_and_how_far_rounds_move(
    deliver_s, images, threads, rounds_s, obstacle, noise
):
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, deliver_s)
    sync = measurement(
        kind="throughput",
        images_per_round=images,
        rounds_s=rounds_s,
        stages=stages,
        worker_threads=threads,
    )
    environment = dataclasses.replace(sync.environment, device_kind="cpu", cpu_cores=8)
    sync = dataclasses.replace(sync, environment=environment)
    overlapped = dataclasses.replace(sync, variant=Variant(mode="async"), rounds_s=(4.0,))
    (found,) = find_overlaps([sync, overlapped])
    assert (found.obstacle, found.noise) == (obstacle, pytest.approx(noise))


@pytest.mark.parametrize(
    ("kind", "cores", "threads", "workers", "ceiling"),
    [
        ("cpu", 8, 4, 1, 0.1125),  # four cores are idle
        ("cpu", 2, 2, 1, 0.075 * 0.75),  # one is idle while the host works, and is shared then
        ("cpu", 2, 1, 2, 0.0),  # the other worker has it
        ("cpu", 2, 4, 1, 0.0),
        ("cpu", None, 2, 1, 0.1125),
        ("cuda", 2, 2, 1, 0.1125),
    ],
)
def test_where_the_processor_computes_the_ceiling_counts_its_cores(
    kind, cores, threads, workers, ceiling
):
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, 0.1)
    sync = measurement(
        kind="throughput",
        variant=Variant(workers=workers),
        images_per_round=4 * workers,
        stages=stages,
        worker_threads=threads,
    )
    environment = dataclasses.replace(sync.environment, device_kind=kind, cpu_cores=cores)
    sync = dataclasses.replace(sync, environment=environment)
    overlapped = dataclasses.replace(sync, variant=Variant(mode="async", workers=workers))
    (found,) = find_overlaps([sync, overlapped])
    assert found.ceiling == pytest.approx(ceiling)


def test_what_several_cases_have_in_common_is_said_once():
    rows = [row(Outcome.BROKEN, f"case-{number}") for number in range(5)]
    rows.insert(2, row(Outcome.SLOWER, "slow"))
    first, second = (
        line.text for line in format_findings(rows) if line.text.startswith(("BROKEN", "SLOWER"))
    )
    assert first.startswith("BROKEN  case-0, case-1, case-2 and 2 more: what was seen")
    assert second.startswith("SLOWER  slow: ")
