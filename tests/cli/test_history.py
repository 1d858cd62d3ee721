import contextlib
import json
import sqlite3

import pytest

from sdperf.cli import main
from tests.support.saved_history import FULL, make_run, write


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of its own with thirty runs, the last ten 10 % slower; no history yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    folder = tmp_path / ".benchmarks" / "machine"
    for number in range(30):
        wiggle = 1 + 0.004 * ((number * 7) % 5 - 2)
        seconds = wiggle * (1.1 if number >= 20 else 1.0)
        write(folder, number, cases={FULL: seconds}, outcomes={FULL: "PASS"})
    return folder


@pytest.fixture
def kept(runs, capsys):
    assert main(["history", "import", ".benchmarks"]) == 0
    capsys.readouterr()
    return runs


def out(capsys, *arguments, status=0):
    assert main(list(arguments)) == status
    return capsys.readouterr().out


def test_import_says_what_became_of_each_file(runs, capsys):
    (runs / "odd.json").write_text("{")
    assert main(["history", "import", ".benchmarks"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "30 runs added, 0 were there, 1 file skipped\n"
    assert printed.err.startswith("skipped: .benchmarks/machine/odd.json is no JSON")
    assert main(["history", "import", ".benchmarks/machine/0003.json"]) == 0
    assert capsys.readouterr().out == "0 runs added, 1 were there, 0 files skipped\n"


def test_list_shows_the_newest_first(kept, capsys):
    lines = out(capsys, "history", "list", "--limit", "2").splitlines()
    assert lines[1].split()[:3] == ["30", "2026-01-30", "00:00"]
    assert lines[1].endswith("1 PASS")
    assert lines[-1] == "2 of 30 runs"
    assert max(map(len, lines)) <= 100
    found = json.loads(out(capsys, "history", "list", "--format", "json", "--before", "2026-01-03"))
    assert [run["id"] for run in found["runs"]] == [2, 1]
    assert found["runs"][0]["measured_at"] == "2026-01-02T00:00:00+00:00"


def test_cases_that_differ_by_their_files_alone_are_told_apart(runs, capsys):
    names = [f"b/{one}.py::test_x" for one in "uv"]
    write(runs.parent, 99, cases=dict.fromkeys(names, 1.0), outcomes=dict.fromkeys(names, "PASS"))
    assert main(["history", "import", ".benchmarks/0099.json"]) == 0
    page = out(capsys, "history", "show", "1")
    assert "u.py::test_x " in page
    assert "v.py::test_x " in page


def test_show_names_every_case(kept, capsys):
    page = out(capsys, "history", "show", "3")
    assert "run 3, measured 2026-01-03" in page
    assert "test_latency[fp32-sync-1w]" in page
    assert max(map(len, page.splitlines())) <= 100
    found = json.loads(out(capsys, "history", "show", "3", "--format", "json"))
    assert found["cases"][0]["outcome"] == "PASS"


def test_export_gives_runs_back_that_import_again_as_known(kept, capsys, tmp_path):
    assert "30 runs written to out" in out(capsys, "history", "export", "-o", "out")
    assert len(list((tmp_path / "out").glob("*.json"))) == 30
    assert "0 runs added, 30 were there" in out(capsys, "history", "import", "out")
    printed = json.loads(out(capsys, "history", "export", "3"))
    assert printed["benchmarks"][0]["fullname"] == FULL
    assert main(["history", "export"]) == 2
    assert "only one run can be printed" in capsys.readouterr().err


def test_prune_says_what_it_would_do_and_does_it(kept, capsys):
    assert main(["history", "prune"]) == 2
    assert "would remove every run" in capsys.readouterr().err
    wanted = ["history", "prune", "--keep", "5"]
    assert out(capsys, *wanted, "--dry-run") == (
        "would remove 15 runs; 10 stay as anchors or baselines\n"
    )
    assert out(capsys, *wanted, "--only-documents").startswith("removed 15 whole runs, but not")
    assert main(["history", "export", "15"]) == 1
    assert "only its figures were kept" in capsys.readouterr().err
    assert out(capsys, *wanted) == "removed 15 runs; 10 stay as anchors or baselines\n"
    assert out(capsys, "history", "list").splitlines()[-1] == "15 runs"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["history", "list"], "there is no history"),
        (["history", "show", "1"], "there is no history"),
        (["trend"], "there is no history"),
        (["history", "import", "absent"], "absent does not exist"),
        (["history", "import", ".", "absent"], "absent does not exist"),
        (["history", "list", "--history", "mysql://x/y"], "URL cannot be used"),
    ],
)
def test_what_cannot_be_used_is_one_message(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / ".sdperf").exists()


@pytest.mark.parametrize(
    "option", [["--metric", "memory"], ["--branch", "main"], ["--last", "5"], ["--fail"]]
)
def test_options_of_runs_are_refused_beside_sweeps(kept, capsys, option):
    assert main(["trend", "--sweep", *option]) == 2
    assert f"{option[0]} goes with the trends of runs only" in capsys.readouterr().err


def test_a_history_without_sweeps_says_how_to_make_one(kept, capsys):
    assert main(["trend", "--sweep"]) == 2
    message = capsys.readouterr().err
    assert "the history holds no such sweep" in message
    assert "sdperf sweep --python-package NAME keeps one" in message


def test_a_count_of_none_is_refused(capsys):
    assert main(["history", "list", "--limit", "0"]) == 2
    assert "--limit cannot be used; got: 0; expected: a whole number, 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["history"],
        ["history", "list", "--since", "yesterday"],
        ["trend", "--metric", "colour"],
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_trend_finds_the_slowdown_and_its_commits(kept, capsys):
    page = out(capsys, "trend")
    assert page.startswith("cpu--test-chip")
    assert "slower     +10." in page or "slower     +9." in page
    assert "runs 20 to 21" in page
    assert max(map(len, page.splitlines())) <= 100
    assert main(["trend", "--fail"]) == 1
    capsys.readouterr()
    found = json.loads(out(capsys, "trend", "sync-1w", "--format", "json"))
    (trend,) = found["trends"]
    assert trend["changes"][0]["first_after"]["commit"] == f"{20:040x}"


def test_trend_says_when_nothing_fits(kept, capsys):
    assert main(["trend", "no such case"]) == 2
    assert "holds no such case" in capsys.readouterr().err
    assert main(["trend", "--metric", "energy"]) == 2
    capsys.readouterr()
    assert out(capsys, "trend", "--metric", "ssim").count("no change of level") == 1
    assert out(capsys, "trend", "--metric", "entropy", "--branch", "main")
    assert main(["trend", "--branch", "other"]) == 2


def test_the_variable_names_the_history(kept, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SDPERF_HISTORY", f"sqlite:///{tmp_path}/other.db")
    assert main(["history", "import", ".benchmarks/machine/0001.json"]) == 0
    assert (tmp_path / "other.db").exists()


def test_no_torch_is_loaded(kept):
    import subprocess
    import sys

    script = (
        "import sys; from sdperf.cli import main; main(['trend']); main(['history', 'list']); "
        "sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_a_run_that_was_void_is_listed_with_that(runs, capsys):
    path = runs / "void.json"
    path.write_text(json.dumps(make_run(99, void="same code, two speeds", interrupted=True)))
    out(capsys, "history", "import", str(path))
    assert out(capsys, "history", "list").splitlines()[1].endswith("1 PASS, void, interrupted")


def test_a_step_of_runs_whose_commit_git_did_not_tell_is_not_called_the_machines(runs, capsys):
    for path in runs.iterdir():
        document = json.loads(path.read_text())
        document["commit_info"] = {"id": "unknown", "dirty": False, "branch": "(unknown)"}
        path.write_text(json.dumps(document))
    assert main(["history", "import", ".benchmarks"]) == 0
    capsys.readouterr()
    page = out(capsys, "trend", "--fail", status=1)
    assert "was measured on both levels" not in page
    (head,) = json.loads(out(capsys, "history", "list", "--limit", "1", "--format", "json"))["runs"]
    assert (head["commit_id"], head["is_dirty"], head["branch"]) == (None, None, None)


def test_placeholders_in_a_history_of_an_older_version_are_no_commits(kept, capsys):
    with contextlib.closing(sqlite3.connect(".sdperf/history.db")) as database:
        database.execute("UPDATE runs SET commit_id = 'unknown', is_dirty = 0")
        database.commit()
    assert "was measured on both levels" not in out(capsys, "trend", "--fail", status=1)
    (head,) = json.loads(out(capsys, "history", "list", "--limit", "1", "--format", "json"))["runs"]
    assert (head["commit_id"], head["is_dirty"]) == (None, None)
