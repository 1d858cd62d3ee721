"""Chapters that several stories begin with."""

import json

from _pytest.pytester import LineMatcher


def accept_sessions(pytester, run, accept, count=5):
    """Run once, and accept that run as so many sessions that differ by a thousandth each.

    Args:
        pytester: Where the run leaves itself.
        run: Runs pytest; returns its result.
        accept: Runs ``sdperf baseline accept``; returns its exit status.
        count: Sessions.
    """
    assert run().ret == 0
    path = pytester.path / ".sdperf/last-run.json"
    first = path.read_text()
    for number in range(count):
        document = json.loads(first)
        for benchmark in document["benchmarks"]:
            record = benchmark["extra_info"]["sdperf"]
            record["rounds_s"] = [s * (1 + 0.001 * number) for s in record["rounds_s"]]
            benchmark["stats"]["data"] = record["rounds_s"]
        path.write_text(json.dumps(document))
        assert accept() == 0


def unwrap(result):
    """Return a matcher of a result's output in which each broken paragraph is a line again."""
    lines = []
    for line in result.outlines:
        if lines and line.startswith("    ") and lines[-1].strip():
            lines[-1] = " ".join([lines[-1].removesuffix(" \\"), line.strip()])
        else:
            lines.append(line)
    return LineMatcher(lines)
