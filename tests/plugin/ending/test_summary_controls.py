"""What a program or a saved run brings reaches the terminal and the Markdown without controls."""

from types import SimpleNamespace

from sdperf.plugin.ending.summary import describe_run, list_without_effect
from sdperf.report.text.session.skips import format_skips

EVIL = "a\x1b[2J\x07\u202e\nb"


def test_the_head_lines_of_a_summary_hold_no_controls():
    measured = SimpleNamespace(
        engine=None,
        without_effect=(EVIL,),
        subject=EVIL,
        loras=(),
        sampling_source=EVIL,
        environment=SimpleNamespace(device_kind="cpu", device_name=EVIL, chip="", packages={}),
        workload=SimpleNamespace(describe_sampling=lambda source, *_: f"4 steps ({source})"),
        images=[SimpleNamespace(width=8, height=8)],
    )
    rows = [SimpleNamespace(measurement=measured)]
    lines = [*describe_run(rows), *list_without_effect(rows)]
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable()
        assert "a?[2J???b" in line


def test_skipped_cases_are_one_line_with_the_number_of_each_reason():
    shown = [line.text for line in format_skips(["slow", "long", "slow"])]
    assert shown == ["skipped: 2 x slow; 1 x long"]
    assert [line.text for line in format_skips(["slow"])] == ["skipped: slow"]
    assert format_skips([]) == []
    (untimed,) = format_skips(["Skipping: --benchmark-only mode is enabled"] * 6)[:1]
    assert untimed.text.startswith("skipped: 6 x not timed by pytest-benchmark")
    for line in format_skips([EVIL, "slow"]):
        assert line.text.isprintable()
