"""``--sd-html``: the report says what the terminal said, and a replay says it again."""

import pytest

from sdperf.cli import main
from sdperf.report.html.raw_data import read_report
from sdperf.store.history.database import open_database
from sdperf.store.history.reading import list_runs
from tests.support.stories import accept_sessions


@pytest.fixture
def read(pytester):
    def read(name="report.html"):
        ((machine, said),) = read_report(pytester.path / name)
        cases = {case.name.rpartition("::")[2].partition("[")[0]: case for case in machine.cases}
        return cases, machine, said

    return read


def test_the_report_of_a_first_run(bench, script, read, pytester):
    result = bench("--sd-html=report.html")
    result.stdout.fnmatch_lines(["report: report.html (*KiB)"])
    assert result.ret == 0
    cases, machine, said = read()
    assert set(cases) == {"test_latency", "test_throughput"}
    assert machine.bases == ()
    page = (pytester.path / "report.html").read_text()
    assert page.count("data:image/webp;base64,") >= 2
    assert set(said.values()) == {case.verdict.outcome.value for case in cases.values()}


@pytest.mark.long
def test_the_trend_comes_from_the_history_also_where_nothing_is_compared(bench, script, pytester):
    def has_trend():
        return '-trend"' in (pytester.path / "report.html").read_text()

    bench("--sd-html=report.html", history="kept.db")
    assert not has_trend()
    for _ in range(4):
        bench(history="kept.db")
    bench("--sd-html=report.html", history="kept.db")
    assert has_trend()
    database = open_database(f"sqlite:///{pytester.path}/kept.db", create=False)
    assert len(list_runs(database)) == 6
    database.close()

    (pytester.path / "kept.db").write_bytes(b"no database")
    damaged = bench("--sd-html=report.html", history="kept.db")
    assert damaged.ret == 4, "it is found out before anything is measured"
    assert has_trend(), "the page of before stays"


def outcomes(cases):
    return {name: case.verdict.outcome.value for name, case in cases.items()}


def test_what_the_run_settled_is_replayed(bench, script, accept, read, pytester):
    accept_sessions(pytester, bench, accept)
    script.seconds[1] = 1.06
    slower = bench("--benchmark-compare", "--sd-html=slower.html")
    assert slower.ret == 1
    cases, machine, said = read("slower.html")
    assert len(machine.bases) == 5
    assert outcomes(cases) == {"test_latency": "SLOWER", "test_throughput": "PASS"}
    assert said == {case.name: case.verdict.outcome.value for case in cases.values()}
    assert "over 4 processes" in machine.settled[cases["test_latency"].name].reason

    wide = bench("--benchmark-compare", "--sd-max-slowdown=20%", "--sd-html=wide.html", confirm=0)
    assert wide.ret == 0
    cases, machine, _ = read("wide.html")
    assert machine.limits.max_slowdown == pytest.approx(0.2)
    assert outcomes(cases) == {"test_latency": "PASS", "test_throughput": "PASS"}

    first = script.rounds
    script.drift = lambda rounds: 1.0 if rounds < first + 10 else 1 / 1.06
    passing = bench("--benchmark-compare", "--sd-html=passing.html")
    assert passing.ret == 0
    passing.stdout.fnmatch_lines(["2 cases: 2 PASS"])
    cases, machine, _ = read("passing.html")
    assert outcomes(cases) == {"test_latency": "PASS", "test_throughput": "PASS"}
    assert "did not repeat" in machine.settled[cases["test_latency"].name].reason

    bases = sorted((pytester.path / "benchmarks/baselines").glob("*/*.json"))
    assert main(["compare", *map(str, bases), str(pytester.path / ".sdperf/last-run.json")]) == 0


@pytest.mark.parametrize("path", ["report.txt", ".", "nope/report.html"])
def test_a_path_that_cannot_be_meant_is_refused(bench, pytester, path):
    result = bench(f"--sd-html={path}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--sd-html cannot be used*an .html file in a folder that exists*"]
    )
    assert not (pytester.path / "nope").exists()


def test_a_report_that_cannot_be_written_is_found_out_before_anything_is_measured(
    bench, script, pytester
):
    (pytester.path / "taken").write_text("")
    result = bench("--sd-html=taken/report.html")
    assert result.ret == 4
    result.stderr.fnmatch_lines(
        ["*--sd-html cannot be used*taken/report.html*a folder that exists*"]
    )
    assert script.rounds == 0


def test_a_report_that_breaks_down_is_one_line_below_the_table(
    bench, script, pytester, monkeypatch
):
    def broken(*_):
        raise RuntimeError("a library of drawings broke down")

    monkeypatch.setattr("sdperf.report.html.files.write_report", broken)
    result = bench("--sd-html=report.html")
    assert result.ret == 3
    result.stdout.fnmatch_lines(
        ["latency*NO BASELINE*", "--sd-html: no report: RuntimeError: a library of drawings*"]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert (pytester.path / ".sdperf/last-run.json").exists()
    result.stdout.fnmatch_lines(["the run is stored; sdperf report draws it again*"])
    result.stdout.no_fnmatch_line("*once there is room again*")
    monkeypatch.undo()
    monkeypatch.chdir(pytester.path)
    assert main(["report"]) == 0
    assert not list((pytester.path / ".sdperf/journal").glob("*"))


def test_a_report_that_finds_no_room_says_so(bench, script, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sdperf.report.html.files.write_atomically", full)
    result = bench("--sd-html=report.html")
    assert result.ret == 3
    said = " ".join(result.stdout.str().split())
    assert "No space left on device" in said
    assert "once there is room again: sdperf resume" in said
