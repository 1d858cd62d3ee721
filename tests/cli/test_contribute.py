"""``sdperf contribute``: a file that is shown and never overwritten; a table that files fill."""

import errno
import getpass
import json
import platform

import pytest

from sdperf.cli import main
from sdperf.report.text.contributions import TABLE_BEGIN, TABLE_END, replace_table
from sdperf.store.files import write_atomically
from tests.support.disks import mounted
from tests.support.saved_runs import CASE, write_run

PAGE = f"# Machines\n\nWords.\n\n{TABLE_BEGIN}\nold\n{TABLE_END}\n\nMore words.\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path)
    return tmp_path


def test_it_shows_what_it_holds_and_what_it_does_not(here, capsys):
    assert main(["contribute", "run.json", "-o", "out.json"]) == 0
    out = capsys.readouterr().out
    assert "fp32-sync-1w" in out
    assert "what it does not say" in out
    assert "prompts, images" in out
    assert max(map(len, out.splitlines())) <= 100
    assert json.loads((here / "out.json").read_text())["cases"][0]["rounds_s"] == [1.0, 1.1, 0.9]


def test_it_is_never_overwritten(here, capsys):
    (here / "out.json").write_text("mine")
    assert main(["contribute", "run.json", "-o", "out.json"]) == 2
    assert "there already" in capsys.readouterr().err
    assert (here / "out.json").read_text() == "mine"


def test_the_last_run_is_taken_and_the_file_is_named_after_the_machine(here):
    (here / ".sdperf").mkdir()
    (here / "run.json").rename(here / ".sdperf/last-run.json")
    assert main(["contribute"]) == 0
    (made,) = here.glob("sdperf-cpu--unknown--*.json")
    assert main(["contribute"]) == 2  # the same content would have the same name
    assert len(made.read_bytes()) > 100


def test_names_of_this_machine_would_be_seen(here, monkeypatch, capsys):
    monkeypatch.setattr(platform, "node", lambda: "annas-mbp.local")
    monkeypatch.setattr(getpass, "getuser", lambda: "anna")
    monkeypatch.setattr("sdperf.store.contribution.contribution._keep_scheduler", lambda _: "anna")
    assert main(["contribute", "run.json", "-o", "out.json"]) == 2
    assert "scheduler: a name" in capsys.readouterr().err
    assert not (here / "out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.json"], "cannot be read"),
        (["run.json", "other.json"], "one run makes one bundle"),
        (["run.json", "-o", "no/such/folder.json"], "cannot be written"),
        (["--add"], "--add needs bundles"),
        (["--add", "run.json"], "is not there"),
    ],
)
def test_what_cannot_be_meant_is_refused(here, capsys, arguments, words):
    assert main(["contribute", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_bundles_fill_a_table(here, capsys):
    assert main(["contribute", "run.json", "-o", "out.json"]) == 0
    folder = here / "machines"
    folder.mkdir()
    page = folder / "README.md"
    page.write_text(PAGE)
    assert main(["contribute", "--add", "out.json", "--table", str(page)]) == 0
    filled = page.read_text()
    (bundle,) = folder.glob("*.json")
    assert f"]({bundle.name}) |" in filled
    assert "| unknown cpu |" in filled
    assert "old" not in filled
    assert filled.startswith("# Machines\n\nWords.")
    assert filled.endswith("More words.\n")
    assert main(["contribute", "--add", "out.json", "--table", str(page)]) == 0
    assert "there already" in capsys.readouterr().out
    assert page.read_text() == filled


def test_a_bundle_that_is_not_to_be_believed_changes_nothing(here, capsys):
    assert main(["contribute", "run.json", "-o", "out.json"]) == 0
    page = here / "README.md"
    page.write_text(PAGE)
    changed = json.loads((here / "out.json").read_text()) | {"note": "trust me"}
    (here / "changed.json").write_text(json.dumps(changed))
    assert main(["contribute", "--add", "out.json", "changed.json", "--table", str(page)]) == 2
    assert "changed.json is not taken" in capsys.readouterr().err
    assert page.read_text() == PAGE


def test_a_page_without_its_marks_is_no_table():
    assert replace_table("no marks", "table") is None
    assert replace_table(f"{TABLE_END}{TABLE_BEGIN}", "table") is None
    assert replace_table(PAGE + PAGE, "table") is None


def test_into_a_folder_that_nobody_can_write_is_one_message(here, capsys):
    with mounted(here / "disk", "4m") as make_read_only:
        assert make_read_only() == 0
        assert main(["contribute", "run.json", "-o", "disk/out.json"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "sdperf contribute: -o: " in shown.err
    assert "cannot be written; got: Read-only file system" in shown.err
    assert shown.out == ""


@pytest.fixture
def bundles(here):
    """Two bundles whose contents differ."""
    write_run(here, cases={CASE: (2.0, 2.1, 1.9)}, name="other.json")
    assert main(["contribute", "run.json", "-o", "one.json"]) == 0
    assert main(["contribute", "other.json", "-o", "two.json"]) == 0
    return ["one.json", "two.json"]


def test_nothing_is_half_filed_into_a_folder_that_nobody_can_write(here, bundles, capsys):
    with mounted(here / "machines", "4m") as make_read_only:
        page = here / "machines/README.md"
        page.write_text(PAGE)
        assert make_read_only() == 0
        capsys.readouterr()
        assert main(["contribute", "--add", *bundles, "--table", str(page)]) == 2
        assert [path.name for path in page.parent.iterdir()] == ["README.md"]
        assert page.read_text() == PAGE
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert "cannot be written; got: Read-only file system" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_nothing_is_half_filed_on_a_disk_that_fills_up(here, bundles, monkeypatch, capsys, failing):
    """The first bundle, the second one or the page does not fit any more."""
    folder = here / "machines"
    folder.mkdir()
    page = folder / "README.md"
    page.write_text(PAGE)
    left = [failing]

    def write(path, content):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_atomically(path, content)

    monkeypatch.setattr("sdperf.cli.machine.contribute.write_atomically", write)
    capsys.readouterr()
    assert main(["contribute", "--add", *bundles, "--table", str(page)]) == 2
    assert left == [0]
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert page.read_text() == PAGE
    shown = capsys.readouterr()
    assert "No space left on device" in shown.err
    assert "nothing was filed" in shown.err
    assert shown.out == ""
    assert main(["contribute", "--add", *bundles, "--table", str(page)]) == 0
    assert len(list(folder.iterdir())) == 3
