"""What becomes of a run beside its own files: the history, a Markdown summary, JUnit properties."""

import errno
import json
import xml.etree.ElementTree as ET

import pytest

from sdperf.cli import main
from sdperf.store.history.database import open_database
from sdperf.store.history.reading import list_runs, load_document


def heads(path):
    database = open_database(f"sqlite:///{path}", create=False)
    try:
        return list_runs(database)
    finally:
        database.close()


def test_every_run_is_kept_and_importing_its_files_adds_nothing(bench, script, pytester, capsys):
    first = bench("--benchmark-autosave", "--benchmark-json=run.json", history=None)
    assert first.ret == 0
    script.seconds[1] = 2.0
    second = bench("--benchmark-compare", history=None, max_slowdown="10%", confirm=0)
    assert second.ret == 1
    kept = heads(pytester.path / ".sdperf/history.db")
    assert [dict(head.outcomes) for head in kept] == [{"PASS": 1, "SLOWER": 1}, {"NO BASELINE": 2}]
    database = open_database(f"sqlite:///{pytester.path}/.sdperf/history.db", create=False)
    written = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    assert load_document(database, kept[0].id) == written
    database.close()
    places = (".benchmarks", "run.json", ".sdperf/last-run.json")
    status = main(["history", "import", "--history", ".sdperf/history.db", *places])
    assert status == 0
    assert "0 runs added, 3 were there" in capsys.readouterr().out


def test_a_history_that_cannot_be_written_neither_fails_nor_loses_the_run(
    bench, pytester, unwatched
):
    (pytester.path / ".sdperf").mkdir()
    (pytester.path / ".sdperf/history.db").write_bytes(b"this is no database" * 100)
    result = bench(history=None)
    assert result.ret == 0
    text = " ".join(line.strip() for line in result.outlines)
    assert "history: this run was not kept" in text
    assert "file is not a database" in text
    assert "sdperf history import takes it in later" in text
    assert (pytester.path / ".sdperf/last-run.json").exists()


@pytest.mark.parametrize("value", ["off", None])
def test_history_can_be_switched_off(bench, pytester, value, monkeypatch, unwatched):
    monkeypatch.setenv("SDPERF_HISTORY", "elsewhere.db")
    assert bench("-k", "latency", history=value).ret == 0
    assert (pytester.path / "elsewhere.db").exists() == (value is None)
    assert not (pytester.path / ".sdperf/history.db").exists()


def test_a_url_of_another_database_is_refused_before_anything_runs(bench):
    result = bench(history="mysql://here/there")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--sd-history cannot be used*"])


def test_the_summary_is_short_when_green_and_says_why_when_red(bench, script, pytester):
    assert bench("--benchmark-autosave", markdown="green.md").ret == 0
    green = (pytester.path / "green.md").read_text()
    assert green.startswith("### sdperf passed: 2 cases: 2 NO BASELINE\n")
    assert len(green.splitlines()) <= 4
    script.seconds[1] = 2.0
    red = bench("--benchmark-compare", markdown="red.md", max_slowdown="10%", confirm=0)
    assert red.ret == 1
    page = (pytester.path / "red.md").read_text()
    assert page.startswith("### sdperf failed: 2 cases: 1 SLOWER, 1 PASS\n")
    assert "- `latency[fp32-sync-1w]` **SLOWER**: " in page
    assert "<details><summary>all cases</summary>" in page


def test_githubs_own_file_is_added_to(bench, pytester, monkeypatch, unwatched):
    path = pytester.path / "step.md"
    path.write_text("# other step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert bench("-k", "latency", markdown=path).ret == 0
    assert path.read_text().startswith("# other step\n### sdperf passed")


def test_junit_xml_carries_the_figures(bench, pytester, unwatched):
    assert bench("-k", "latency", "--junitxml=report.xml").ret == 0
    (case,) = ET.parse(pytester.path / "report.xml").iter("testcase")
    found = {one.get("name"): one.get("value") for one in case.iter("property")}
    saved = json.loads((pytester.path / ".sdperf/last-run.json").read_text())
    record = saved["benchmarks"][0]["extra_info"]["sdperf"]
    assert float(found["sdperf.latency_s_per_image"]) == record["seconds_per_image"]
    assert float(found["sdperf.entropy_bit"]) == record["images"][0]["entropy_bits"]
    assert float(found["sdperf.memory_mib"]) > 0


def test_a_session_that_measured_nothing_is_not_taken_for_the_run_before(
    bench, pytester, unwatched, capsys, monkeypatch
):
    monkeypatch.chdir(pytester.path)
    assert bench("-k", "latency", history=None).ret == 0
    before = (pytester.path / ".sdperf/last-run.json").read_bytes()
    (pytester.path / "subjects.py").write_text("def pipe(*_):\n    raise ValueError('lost')\n")
    broken = bench("-k", "latency", history=None, subject="subjects:pipe", markdown="run.md")
    assert broken.ret == 1
    said = " ".join(broken.stdout.str().split())
    assert "not saved: no case was measured, so no run of it is kept, also not in the" in said
    assert "history; .sdperf/last-run.json is still the run of 20" in said
    assert "no case was measured" in (pytester.path / "run.md").read_text()
    assert (pytester.path / ".sdperf/last-run.json").read_bytes() == before
    assert len(heads(pytester.path / ".sdperf/history.db")) == 1
    capsys.readouterr()
    assert main(["baseline", "accept", "--reason", "last", "--intended-change"]) == 2
    refused = " ".join(capsys.readouterr().err.split())
    assert "the last session left no run" in refused
    assert "lost" in refused
    assert bench("-k", "latency", "--benchmark-skip").ret == 0
    assert main(["baseline", "accept", "--reason", "last"]) == 2, "a skipped session says nothing"
    assert "left no run" in capsys.readouterr().err
    assert bench("-k", "latency").ret == 0
    assert main(["baseline", "accept", "--reason", "last"]) == 0


def test_a_session_whose_run_could_not_be_stored_is_not_taken_for_the_run_before(
    bench, pytester, unwatched, capsys, monkeypatch
):
    monkeypatch.chdir(pytester.path)
    assert bench("-k", "latency").ret == 0

    def refuse(*_):
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("sdperf.plugin.ending.finish.write_evidence", refuse)
        assert bench("-k", "latency").ret == 3
    capsys.readouterr()
    assert main(["baseline", "accept", "--reason", "last"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the last session left no run" in said
    assert "the run cannot be stored: no room" in said
