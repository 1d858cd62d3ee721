import dataclasses

import pytest

from sdperf.record.stages import StageTimes
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.record.workload import Variant
from sdperf.report.text.session.cases import (
    Row,
    format_ceilings,
    format_counts,
    format_findings,
    format_table,
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


def test_everything_fits_the_width():
    rows = [row(Outcome.DEGRADED, "a_very_long_name_of_a_case_" * 3, 123.0)]
    lines = [*format_table(rows), *format_findings(rows), *format_ceilings(rows)]
    assert max(len(line.text) for line in lines) <= WIDTH


def test_findings_say_what_to_do_and_passes_are_silent():
    assert format_findings([row()]) == []
    text = "\n".join(line.text for line in format_findings([row(Outcome.SLOWER)]))
    assert text.startswith("SLOWER  latency[fp32-sync-1w]: what was seen")
    assert text.endswith("next: type this")


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


def test_async_gain_stands_beside_its_ceiling():
    stages = StageTimes(1.0, 0.05, 0.05, 0.7, 0.1, 0.1)
    sync = measurement(kind="throughput", images_per_round=4, rounds_s=(4.0,), stages=stages)
    faster = dataclasses.replace(sync, variant=Variant(mode="async"), rounds_s=(3.6,))
    (line,) = format_ceilings([row(measured=sync), row(measured=faster)])
    assert "saved 10.0 %" in line.text
    assert "ceiling 11.3 %" in line.text


@pytest.mark.parametrize(
    ("kind", "cores", "threads", "workers", "ceiling"),
    [
        ("cpu", 8, 4, 1, "11.3 %"),  # four cores are idle
        ("cpu", 2, 2, 1, "5.6 %"),  # one is idle while the host works, and must be shared then
        ("cpu", 2, 1, 2, "0.0 %"),  # the other worker has it
        ("cpu", 2, 4, 1, "0.0 %"),
        ("cpu", None, 2, 1, "11.3 %"),
        ("cuda", 2, 2, 1, "11.3 %"),
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
    (line,) = format_ceilings([row(measured=sync), row(measured=overlapped)])
    assert f"ceiling {ceiling}" in line.text


def test_what_several_cases_have_in_common_is_said_once():
    rows = [row(Outcome.BROKEN, f"case-{number}") for number in range(5)]
    rows.insert(2, row(Outcome.SLOWER, "slow"))
    first, second = (
        line.text for line in format_findings(rows) if line.text.startswith(("BROKEN", "SLOWER"))
    )
    assert first.startswith("BROKEN  case-0, case-1, case-2 and 2 more: what was seen")
    assert second.startswith("SLOWER  slow: ")
