"""What a program or a saved run brings reaches the terminal and the Markdown without controls."""

from types import SimpleNamespace

from sdperf.plugin.ending.summary import describe_run, list_without_effect

EVIL = "a\x1b[2J\x07\u202e\nb"


def test_the_head_lines_of_a_summary_hold_no_controls():
    measured = SimpleNamespace(
        engine=None,
        without_effect=(EVIL,),
        subject=EVIL,
        sampling_source=EVIL,
        environment=SimpleNamespace(device_kind="cpu", device_name=EVIL, chip="", packages={}),
        workload=SimpleNamespace(describe_sampling=lambda: "4 steps"),
        images=[SimpleNamespace(width=8, height=8)],
    )
    rows = [SimpleNamespace(measurement=measured)]
    lines = [*describe_run(rows), *list_without_effect(rows)]
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable()
        assert "a?[2J???b" in line
