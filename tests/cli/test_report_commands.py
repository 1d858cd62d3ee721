import hashlib
import json
import sys

import pytest

from sdperf.cli import main
from sdperf.report.html.raw_data import ELEMENT_ID, pack_machines
from sdperf.store.runs import format_content
from tests.support.reported_runs import real_run, save, slowed, with_cases, with_hostile_names

LATENCY = "latency[fp32-sync-1w]"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    before = save(tmp_path, real_run(), "before.json")
    after = save(tmp_path, slowed(real_run(), 1.6, only="test_throughput"), "after.json")
    return str(before), str(after)


@pytest.fixture
def quick(monkeypatch):
    """Pages of their data alone: what they look like is tested elsewhere and takes its time."""

    def render(machines, *_):
        return f'<p><script id="{ELEMENT_ID}">{pack_machines(machines)}</script>'

    monkeypatch.setattr("sdperf.report.html.page.render_page", render)


def test_a_report_is_written_replayed_and_taken_apart(runs, tmp_path, capsys):
    assert main(["report", *runs, "-o", "change.html"]) == 0
    assert "wrote change.html: 4 of 12 cases got worse" in capsys.readouterr().out
    assert main(["replay", "change.html", "--extract", "out"]) == 1
    out = capsys.readouterr().out
    assert "12 cases: 4 SLOWER, 8 PASS" in out
    assert "as in the report: 12 verdicts" in out
    assert max(map(len, out.splitlines())) <= 100
    first, second = sorted((tmp_path / "out").iterdir())
    assert json.loads(second.read_text()) == json.loads((tmp_path / "after.json").read_text())
    assert main(["report", str(first), str(second), "-o", "again.html"]) == 0
    assert "4 of 12 cases got worse" in capsys.readouterr().out


def test_other_limits_are_told_from_the_reports(quick, runs, capsys):
    main(["report", *runs, "-o", "change.html"])
    assert main(["replay", "change.html", "--max-slowdown", "90%"]) == 0
    out = capsys.readouterr().out
    assert out.count("PASS now, SLOWER in the report") == 4
    main(["report", *runs, "-o", "wide.html", "--max-slowdown", "90%", "--gross-slowdown", "90%"])
    capsys.readouterr()
    assert main(["replay", "wide.html"]) == 0
    assert main(["replay", "wide.html", "--strict"]) == 0


def test_the_last_run_is_the_default(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert "there is no last run here" in capsys.readouterr().err
    save(tmp_path / ".sdperf", real_run(), "last-run.json")
    assert main(["report"]) == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("command", [["report"], ["baseline", "list"], ["baseline", "show", "1"]])
def test_a_named_folder_of_accepted_sessions_has_to_exist(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / ".sdperf", real_run(), "last-run.json")
    assert main([*command, "--baselines", "absent"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "no such folder of accepted sessions; got: absent" in told


def accept(folder, document):
    environment = document["benchmarks"][0]["extra_info"]["sdperf"]["environment"]
    accepted = document | {
        "sdperf_accepted": {
            "reason": "first",
            "accepted_at": "2026-11-23T00:00:00+00:00",
            "commit": environment["commit"],
            "content_sha256": hashlib.sha256(format_content(document)).hexdigest(),
        }
    }
    fingerprint = "cpu--amd-epyc--2cpu--24gib--debian-12--torch-2.13--power-unknown"
    return save(folder / "benchmarks" / "baselines" / fingerprint, accepted, "0001_x_y_z.json")


def test_a_run_alone_is_held_against_the_accepted_sessions(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    document = real_run()
    accept(tmp_path, document)
    head = save(tmp_path, slowed(document, 1.6, only="test_throughput"))
    assert main(["report", str(head)]) == 0
    assert "4 of 12 cases got worse" in capsys.readouterr().out


def without_baseline(document):
    """Return the run as a first session says it, which had nothing to be compared with."""
    for benchmark in document["benchmarks"]:
        benchmark["extra_info"]["sdperf"].pop("verdict")
    names = document["sdperf"]["outcomes"]
    document["sdperf"] |= {"outcomes": dict.fromkeys(names, "NO BASELINE"), "suite": None}
    return document


def test_an_accepted_run_is_never_compared_with_itself(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first = without_baseline(real_run())
    head, session = save(tmp_path, first), accept(tmp_path, first)
    for runs in ([head], [session], [session, head]):
        assert main(["report", *map(str, runs), "-o", "itself.html"]) == 0
        assert "No answer yet for 12 cases" in capsys.readouterr().out
        assert main(["replay", "itself.html"]) == 0
        out = capsys.readouterr().out
        assert "12 cases: 12 NO BASELINE" in out
        assert "as in the report: 12 verdicts" in out
    assert main(["compare", str(session), str(head)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "12 cases: 12 NO BASELINE" in out
    assert "0001_x_y_z.json is this run itself, which was accepted: it is left out" in out
    assert main(["compare", str(session), str(head), "--strict"]) == 1


def with_steps(document, steps, only=""):
    """Return the run as if its cases had been asked for another number of steps."""
    for benchmark in document["benchmarks"]:
        if only in benchmark["fullname"]:
            benchmark["extra_info"]["sdperf"]["workload"]["num_inference_steps"] = steps
    return document


def test_what_compared_nothing_fails(quick, runs, tmp_path, capsys):
    other = str(save(tmp_path, with_steps(real_run(), 7), "other.json"))
    said = "nothing was compared: before.json cannot judge any of the 12 cases; the reasons are"
    assert main(["compare", runs[0], other]) == 1
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["compare", runs[0], other, "--format", "markdown"]) == 1
    assert said in capsys.readouterr().out
    assert main(["report", runs[0], other, "-o", "other.html"]) == 0
    capsys.readouterr()
    assert main(["replay", "other.html"]) == 1
    assert said in " ".join(capsys.readouterr().out.split())
    some = str(save(tmp_path, with_steps(real_run(), 7, "test_latency"), "some.json"))
    assert main(["compare", runs[0], some]) == 0
    assert "nothing was compared" not in capsys.readouterr().out


def test_figures_are_written_as_files_that_open(runs, tmp_path, capsys):
    assert main(["figures", runs[1], "-o", "figures"]) == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    for name in ("time", "resources-1", "components", "workers", "images", "share-of-peak"):
        assert {f"{name}.svg", f"{name}.png", f"{name}.csv"} <= names
    assert (tmp_path / "figures/time.svg").read_text().startswith("<?xml")
    assert (tmp_path / "figures/time.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "figures/time.csv").read_text().splitlines()
    assert rows[0].startswith("case,s/image")
    assert any(LATENCY in row for row in rows)
    assert "Time of one image" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["report", "figures"])
def test_what_cannot_be_read_is_one_message(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.json").write_text("{")
    assert main([command, "damaged.json"]) == 2
    error = capsys.readouterr().err
    assert "no JSON" in error
    assert error.count("\n") == 1
    assert main([command, "none.json"]) == 2


def test_without_the_drawing_packages_the_command_to_install_them_is_named(
    runs, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", runs[0]]) == 2
    assert "pip install 'sdperf[report]'" in capsys.readouterr().err
    assert main(["figures", runs[0]]) == 2
    assert "pip install 'sdperf[report]'" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(quick, runs, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["report", runs[0], "-o", "taken/report.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    main(["report", runs[0]])
    assert main(["replay", "report.html", "--extract", "taken/out"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_names_in_a_report_reach_neither_the_terminal_nor_a_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    document = with_hostile_names(with_cases(real_run(), 2))
    document["benchmarks"][0]["fullname"] = "a::test_\x1b[2Jcleared"
    document["sdperf"]["outcomes"] = {}
    folder = tmp_path / "runs"
    run = save(folder, document, "..‮-\x1b[2J.json")
    assert main(["report", str(run)]) == 0
    main(["replay", "report.html", "--extract", "out"])
    assert "\x1b" not in capsys.readouterr().out
    (extracted,) = (tmp_path / "out").iterdir()
    assert extracted.name == "1-001-2J.json"


def test_a_damaged_report_is_one_message(quick, runs, tmp_path, capsys):
    main(["report", runs[0]])
    page = (tmp_path / "report.html").read_text()
    (tmp_path / "half.html").write_text(page[: len(page) // 2])
    capsys.readouterr()
    assert main(["replay", "half.html"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sdperf replay: half.html")
    assert error.count("\n") == 1
