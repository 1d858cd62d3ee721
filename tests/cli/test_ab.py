"""``sdperf ab`` from the command line: real worktrees, interpreters and pipes, no torch."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from sdperf.ab.sides import worktree
from sdperf.ab.turns import bench
from sdperf.cli import main
from sdperf.device import DeviceInfo
from sdperf.errors import ConfigurationError
from sdperf.images.png import decode_png
from sdperf.report.markdown.ab import format_comparison_json, parse_comparison
from sdperf.run.pool import WorkerPool
from sdperf.store.session_lock import FolderLock
from tests.ab.sides.test_worktree import git
from tests.cli.test_lost_output import sdperf as end_output
from tests.support.ab_standin import PROGRAM
from tests.support.disks import mounted

PLAIN = ("--guards", "off", "--no-control", "--first", "A")
SUBJECT = ("--subject", "mine:make")


@pytest.fixture(autouse=True)
def stand_in(staged_once, monkeypatch, tmp_path):
    """Workers without torch; afterwards nothing may be left behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield temporary
    assert list(temporary.iterdir()) == []


def commit(folder, message, **files):
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def two_commits(tmp_path_factory):
    """The project, made once: each test copies it."""
    folder = tmp_path_factory.mktemp("two") / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, "old", mine="def make():\n    return {'seconds': 1.0}\n")
    git(folder, "tag", "old")
    commit(folder, "slower", mine="def make():\n    return {'seconds': 1.1}\n")
    return folder


@pytest.fixture
def repository(two_commits, tmp_path, monkeypatch):
    """A project whose second commit is 10 % slower than its first, tagged ``old``."""
    folder = tmp_path / "project"
    shutil.copytree(two_commits, folder, symlinks=True)
    monkeypatch.chdir(folder)
    yield folder
    assert git(folder, "worktree", "list").count("\n") == 0


def run(capsys, *arguments):
    status = main(["ab", *PLAIN, *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.parametrize(("b", "is_said"), [("mode=sync", True), ("mode=async", False)])
def test_sides_that_are_the_same_are_told(capsys, b, is_said):
    _, _, err = run(capsys, "--a", "mode=sync", "--b", b)
    assert ("both sides are the same code and settings" in err) == is_said


def test_what_the_device_cannot_run_is_refused_before_a_side_is_loaded(capsys, monkeypatch):
    looked = []

    def look(pool, choice):
        looked.append(choice)
        return DeviceInfo("cpu", "", ("fp32",), None, None)

    monkeypatch.setattr(WorkerPool, "describe_device", look)
    monkeypatch.setattr(bench, "staged_harness", lambda *_: pytest.fail("a side was loaded"))
    sides = ("--a", "optimisations=cuda_graphs", "--b", "optimisations=loop_graph")
    status, out, err = run(capsys, *sides)
    assert (status, out) == (2, "")
    assert err.startswith("sdperf ab: cuda_graphs cannot be used on cpu: ")
    assert "got: cuda_graphs; " in err
    assert looked == ["auto"]


def test_a_cache_that_the_network_cannot_have_is_refused_before_a_side_is_loaded(
    capsys, monkeypatch
):
    monkeypatch.setattr(WorkerPool, "acquire", lambda *_: pytest.fail("a side was loaded"))
    status, out, err = run(capsys, "--a", "mode=sync", "--b", "optimisations=mag_cache")
    assert (status, out) == (2, "")
    words = " ".join(err.split())
    assert "mag_cache cannot be used with this model; got: a UNet2DConditionModel" in words
    assert "side B (" in words


def test_two_settings_give_one_line_and_the_stages(capsys):
    status, out, err = run(capsys, "--a", "precision=bf16", "--b", "precision=fp32")
    assert status == 0
    assert "latency[bf16-sync-1w | fp32-sync-1w], 4 blocks" in out
    assert "\nB is 50.0 % faster (" in out
    assert ", same memory, image: identical: PASS\n" in out
    assert "80 % of the gain is in denoise" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    assert "\x1b" not in out + err
    assert err.splitlines()[-2].startswith("sdperf ab: latency[bf16-sync-1w | fp32-sync-1w]: 4 of")


def test_a_slower_revision_exits_1_and_leaves_the_tree_alone(capsys, repository):
    (repository / "mine.py").write_text("raise SystemError('uncommitted')\n")
    status, out, _ = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 1
    assert "B is 10.0 % slower (8.8 to 11.2), same memory, image: identical: SLOWER" in out
    assert f"B  HEAD, commit {git(repository, 'rev-parse', 'HEAD')[:12]}, mine:make" in out
    assert git(repository, "status", "--short") == "M mine.py"
    assert run(capsys, "HEAD", "old", *SUBJECT)[0] == 0


def test_one_revision_is_held_against_the_working_tree_as_it_is(capsys, repository):
    (repository / "mine.py").write_text("def make():\n    return {'seconds': 1.5}\n")
    status, out, _ = run(capsys, "old", *SUBJECT)
    assert status == 1
    assert "A  old, commit" in out
    assert "B  working tree, mine:make" in out
    assert "B is 50.0 % slower" in out


def test_revisions_that_hold_the_same_code_are_said_to(capsys, repository):
    status, out, _ = run(capsys, "HEAD", ".", *SUBJECT)
    assert status == 0
    assert "note: every module that took part is the same in both revisions" in out


def test_a_package_of_the_repository_counts_as_much_as_a_subject(capsys, repository):
    """Here the repository holds a module that the pipeline imports, and there is no subject."""
    status, _, err = run(capsys, "old", "HEAD")
    assert status == 2
    assert "nothing of this repository takes part in a generation" in err
    commit(repository, "a part", PIL_extra="", mine="")
    (repository / "PIL").mkdir()
    package = "import importlib.machinery as m, sys\n"
    finder = "\n".join(
        [
            "paths = [p for p in sys.path if 'site-packages' in p]",
            "spec = m.PathFinder.find_spec('PIL', paths)",
            "__path__.append(spec.submodule_search_locations[0])",
            "exec(open(spec.origin).read())",
        ]
    )
    (repository / "PIL" / "__init__.py").write_text(package + finder)
    commit(repository, "a copy of a library", mine="")
    status, _, err = run(capsys, "HEAD", ".")
    assert status == 0, err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "there is nothing to compare"),
        (("no-such-branch",), "git knows no such revision; got: no-such-branch"),
        (("old", "--", "--force"), "git knows no such revision; got: --force"),
        (("old", "HEAD", "extra"), "too many revisions; got: 3"),
        (("--python", "/no/such/python", "--python", sys.executable), "cannot be started"),
        (("--a", "precision=fp8", "--b", "mode=sync"), "the setting precision cannot be used"),
        (("--a", "colour=red", "--b", "mode=sync"), "a setting is unknown; got: colour"),
        (("--a", "stepz=3"), "height, width, profile; do: type steps=3\n"),
        (("--a", "fp16", "--b", "mode=sync"), "a setting cannot be read; got: fp16"),
        (("--a", "mode=sync", "--cases", "speed"), "there is no such case; got: speed"),
        (("--a", "mode=sync", "--json", "/no/such/folder/x.json"), "--json cannot be written"),
        (("--a", "mode=sync", "--json", "x", "--markdown", "./x"), "are the same file"),
        (("--a", "mode=sync", "--label", "one"), "--label names both sides"),
        (("--a", "model=/no/such/model"), "'/no/such/model' does not exist"),
    ],
)
def test_what_cannot_be_used_is_one_message(capsys, repository, arguments, words):
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_outside_a_repository_revisions_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "main", "HEAD")
    assert status == 2
    assert "this folder lies in no git repository" in " ".join(err.split())


def test_a_revision_where_the_subject_does_not_import_is_named(capsys, repository):
    commit(repository, "broken", mine="import no_such_library\n")
    status, out, err = run(capsys, "old", "HEAD", *SUBJECT)
    assert (status, out) == (2, "")
    message = err.splitlines()[-1]
    assert message.startswith("sdperf ab: side B (HEAD): the subject's module mine cannot be")
    assert "ModuleNotFoundError: No module named 'no_such_library'" in message


def test_a_revision_without_the_subject_does_not_borrow_the_working_trees(capsys, repository):
    commit(repository, "new", later="def make():\n    return {}\n")
    status, _, err = run(capsys, "old", "HEAD", "--subject", "later:make")
    assert status == 2
    assert "side A (old): the subject's module later cannot be imported" in err
    assert "python -c" not in err, "in the working tree that import succeeds"
    words = " ".join(err.split())
    assert "code that the revision itself holds: the working tree's is not looked at" in words
    assert "do: name a revision that holds it in the place of old" in words
    assert "--b subject=" in err


def test_the_import_path_of_the_working_tree_does_not_reach_into_a_revision(
    capsys, repository, monkeypatch
):
    (repository / "tools").mkdir()
    (repository / "tools" / "later.py").write_text("def make():\n    return {}\n")
    monkeypatch.setenv("PYTHONPATH", str(repository / "tools"))
    status, _, err = run(capsys, "old", "HEAD", "--subject", "later:make")
    assert status == 2
    assert "side A (old): the subject's module later cannot be imported" in err


def test_a_dirty_submodule_is_refused_and_a_clean_one_filled(capsys, repository, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet")
    commit(library, "one", speed="SECONDS = 1.0\n")
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    git(repository, *add, str(library), "library")
    text = """
        from library.speed import SECONDS

        def make():
            return {"seconds": SECONDS}
    """
    commit(repository, "with a library", mine=text)
    git(repository, "tag", "with")
    commit(repository / "library", "two", speed="SECONDS = 1.2\n")
    commit(repository, "newer library")
    status, out, err = run(capsys, "with", "HEAD", *SUBJECT)
    assert status == 1, err
    assert "B is 20.0 % slower" in out
    for place in (repository, repository / "library"):
        assert git(place, "worktree", "list").count("\n") == 0
    (repository / "library" / "speed.py").write_text("SECONDS = 9\n")
    status, _, err = run(capsys, "with", "HEAD", *SUBJECT)
    assert status == 2
    assert "the submodule library has uncommitted changes" in err
    git(repository / "library", "checkout", "--quiet", "speed.py")


def test_a_full_disk_is_seen_before_anything_is_checked_out(capsys, repository, monkeypatch):
    import shutil

    usage = type(shutil.disk_usage("/"))(10**9, 10**9, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    status, _, err = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 2
    assert "there is no room for the revisions' files; got: 0 B free in" in err


def test_a_worktree_that_breaks_off_leaves_nothing(capsys, repository, monkeypatch):
    real = worktree.run_git

    def run_git(folder, *arguments):
        if arguments[:2] == ("worktree", "add"):
            Path(arguments[-2], "half").mkdir(parents=True)
            raise ConfigurationError("git worktree failed", got="No space left on device")
        return real(folder, *arguments)

    monkeypatch.setattr(worktree, "run_git", run_git)
    status, _, err = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 2
    assert err == "sdperf ab: git worktree failed; got: No space left on device\n"


def test_a_side_that_dies_half_way_is_one_message_and_no_result(capsys, repository, tmp_path):
    commit(repository, "dies", mine="def make():\n    return {'dies_at': 7}\n")
    result = tmp_path / "result.json"
    status, out, err = run(capsys, "old", "HEAD", *SUBJECT, "--json", str(result))
    assert (status, out) == (2, "")
    message = err.splitlines()[-1]
    assert message.startswith("sdperf ab: side B (HEAD): a worker died during a generation; got:")
    assert "exit code 9" in message
    assert "it said: the last words of the side" in message
    assert not result.exists()


def test_files_hold_everything_and_no_path_of_this_machine(capsys, repository, tmp_path):
    paths = {name: tmp_path / f"result.{name}" for name in ("json", "markdown")}
    outputs = [f"--{name}={path}" for name, path in paths.items()]
    status, _, _ = run(capsys, "old", "HEAD", *SUBJECT, *outputs, f"--images={tmp_path / 'pics'}")
    assert status == 1
    text = paths["json"].read_text()
    for place in (str(tmp_path), sys.prefix, str(Path(sys.executable).parent)):
        assert place not in text
    record = parse_comparison(text)
    assert format_comparison_json(record) == text
    verdict = json.loads(text)["verdict"]
    assert verdict["outcome"] == "SLOWER"
    assert verdict["cases"][0]["ratio"]["mean"] == pytest.approx(1.1, rel=1e-3)
    assert list(record.b.modules) == ["mine"]
    assert len(record.cases[0].blocks[0].executions) % 4 == 0
    markdown = paths["markdown"].read_text()
    assert markdown.startswith("# old against HEAD: SLOWER\n")
    assert "| denoise | 800 ms | 880 ms |" in markdown
    pictures = sorted((tmp_path / "pics").iterdir())
    assert [path.name for path in pictures[:2]] == ["case1-image1.png", "case1-image2.png"]
    assert decode_png(pictures[0].read_bytes()).shape[1] > 3 * 64


def test_printed_json_is_the_record(capsys):
    status, out, _ = run(capsys, "--a", "mode=sync", "--b", "mode=async", "--format", "json")
    assert status == 0
    assert parse_comparison(out).cases[0].variant_b.mode == "async"


def test_the_null_control_and_several_cases(capsys):
    cases = "--cases=latency,stage[fp32-denoise],throughput[fp32-*-2w]"
    arguments = ["ab", "--guards", "off", "--a", "device=cpu", "--b", "device=cpu", cases]
    assert main([*arguments, "--no-stages"]) == 0
    out, err = capsys.readouterr()
    assert "null control: A differs from itself by +0.0 % in 4 blocks (single ones +0.0 % " in out
    assert re.search(r"null control: 4 of at most 4 blocks, \+0\.0 % \(\S+ to \S+ at 98 %\)", err)
    assert out.splitlines()[-1] == "4 cases: 4 PASS"
    assert "stage[fp32-denoise], 4 blocks" in out
    assert "throughput[fp32-async-2w], 4 blocks" in out


def test_an_image_that_went_black_fails_though_faster(capsys, repository):
    commit(repository, "black", mine="def make():\n    return {'seconds': 0.5, 'flat': True}\n")
    status, out, _ = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 1
    assert "B is 50.0 % faster" in out
    assert ": BROKEN\n" in out
    assert "next: look at both: --images DIR" in out


def test_open_answers_fail_only_under_strict(capsys):
    undecided = ("--a", "mode=sync", "--b", "mode=async", "--looks=4", "--max-slowdown=0.1%")
    status, out, _ = run(capsys, *undecided)
    assert (status, "INCONCLUSIVE" in out) == (0, True)
    assert run(capsys, *undecided, "--strict")[0] == 1


def test_interrupts_give_the_verdict_so_far(capsys, repository, tmp_path, monkeypatch):
    from sdperf.cli.ab.view import TerminalView

    show = TerminalView.show

    def interrupt(self, progress):
        show(self, progress)
        if progress.blocks == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(TerminalView, "show", interrupt)
    status, out, _ = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 130
    assert "B is 10.0 % slower" in out
    assert "interrupted: this is what there was" in out
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_before_anything_was_measured_is_no_verdict(capsys, repository, monkeypatch):
    from sdperf.cli.ab.view import TerminalView

    def interrupt(self, what):
        raise KeyboardInterrupt

    monkeypatch.setattr(TerminalView, "announce", interrupt)
    status, out, _ = run(capsys, "old", "HEAD", *SUBJECT)
    assert status == 130
    assert "too few blocks to tell: interrupted" in out


SETTINGS = ("--a", "mode=sync", "--b", "mode=async")


@pytest.mark.parametrize("option", ["--json", "--markdown", "--images"])
def test_a_folder_that_nobody_can_write_is_found_out_first(capsys, repository, tmp_path, option):
    with mounted(tmp_path / "disk", "40m") as make_read_only:
        assert make_read_only() == 0
        status, out, err = run(capsys, *SETTINGS, option, str(tmp_path / "disk/result"))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{option}: " in err
    assert "cannot be written; got: Read-only file system" in err


def test_a_disk_without_room_is_found_out_first(capsys, repository, tmp_path, monkeypatch):
    with mounted(tmp_path / "disk", "1m"):
        status, out, err = run(capsys, *SETTINGS, "--json", str(tmp_path / "disk/result"))
        assert (status, out) == (2, "")
        assert "--json: the disk of" in err
        assert "is nearly full" in err
        monkeypatch.setenv("TMPDIR", str(tmp_path / "disk"))
        status, out, err = run(capsys, *SETTINGS)
        assert (status, out) == (2, "")
        assert "TMPDIR, the folder of temporary files: the disk of" in err


def test_in_a_folder_that_nobody_can_write_it_says_so_first_and_answers(
    capsys, tmp_path, monkeypatch
):
    with mounted(tmp_path / "here", "40m") as make_read_only:
        monkeypatch.chdir(tmp_path / "here")
        assert make_read_only() == 0
        status, out, err = run(capsys, *SETTINGS)
        monkeypatch.chdir(tmp_path)
    assert status == 0
    assert "PASS" in out
    assert "cannot be written (Read-only file system): finished cases are not kept" in " ".join(
        err.split()
    )
    assert "Traceback" not in err


def test_two_comparisons_in_one_folder_end_in_one_message(capsys, repository):
    lock = FolderLock.take(repository / ".sdperf")
    try:
        status, out, err = run(capsys, "old", "HEAD", *SUBJECT)
    finally:
        lock.release()
    assert (status, out) == (2, "")
    assert "another session measures in this folder" in err
    assert err.count("\n") == 1
    assert run(capsys, "old", "HEAD", *SUBJECT)[0] == 1
    assert not (repository / ".sdperf").exists(), "nothing is left in a clean tree"


@pytest.mark.parametrize(("faster", "expected"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("ending", ["pipe", "full", "closed"])
def test_output_that_nobody_can_read_changes_no_failure_into_success(
    repository, tmp_path, staged_once, faster, expected, ending
):
    """In a process of its own, whose standard output is gone."""
    (tmp_path / "ab.py").write_text(PROGRAM)
    sides = ("HEAD", "old") if faster else ("old", "HEAD")
    result = tmp_path / "result.json"
    arguments = ("ab", *PLAIN, *sides, *SUBJECT, "--json", result)
    environment = os.environ | staged_once.environment
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
    program, channel = (tmp_path / "ab.py",), (staged_once.channel.fileno(),)
    status, errors = end_output(
        ending, *arguments, program=program, env=environment, pass_fds=channel
    )
    lost = ending != "pipe"
    assert status == (2 if lost and expected == 0 else expected)
    assert parse_comparison(result.read_text()).cases, "all is kept"
    assert ("standard output cannot be written" in errors) == (lost and expected == 0)


def test_names_that_are_not_utf8_are_escaped_in_every_result(tmp_path, staged_once):
    """In a process of its own, whose locale knows no other letters than ASCII's."""
    folder, name = tmp_path / os.fsdecode(b"caf\xe9"), os.fsdecode(b"r\xe9sultat")
    folder.mkdir()
    (tmp_path / "ab.py").write_text(PROGRAM)
    outputs = ("--json", f"{name}.json", "--markdown", f"{name}.md", "--images", name)
    label = ("--label", name, "--label", "b")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    paths = {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, tmp_path / "ab.py", "ab", *PLAIN, *SETTINGS, *label, *outputs],
        cwd=folder, env=os.environ | locale | paths | staged_once.environment,
        pass_fds=(staged_once.channel.fileno(),), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"r?sultat" in done.stdout
    assert parse_comparison((folder / f"{name}.json").read_text()).a.label == name
    assert "# r sultat against b: PASS" in (folder / f"{name}.md").read_text()
    assert list((folder / name).iterdir())
    assert sorted(path.name[:1] for path in folder.iterdir()) == ["r", "r", "r"]
