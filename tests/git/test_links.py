"""Places that a repository chose by a link are refused before anything is written there."""

import os
import shlex
from types import SimpleNamespace

import pytest

from sdperf.ab.keeping import FOLDER, FileKeeper
from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.cli import main
from sdperf.cli.ab import held_folder
from sdperf.errors import ConfigurationError
from sdperf.folders import open_lock
from sdperf.git.command import make_git_environment
from sdperf.git.links import is_tracked, refuse_tracked_links
from sdperf.plugin.ending.keeping import keep_in_history
from sdperf.plugin.opening import check_packages, refuse_chosen_places
from sdperf.record.workload import Variant
from sdperf.store.history.database import locate_history
from sdperf.store.journal import Journal, JournalHead, JournalProcess
from sdperf.store.session_lock import LOCK_FILE, FolderLock
from sdperf.sweep.state import SweepFolder
from sdperf.tune.study.storage import locate_storage
from tests.support.ab_fakes import side
from tests.support.repositories import git

KEY = "0123456789abcdef"
MINE = "the user's own lines\n"


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "bashrc").write_text(MINE)
    (folder / "pictures").mkdir()
    yield folder
    assert [one.name for one in sorted(folder.rglob("*"))] == ["bashrc", "pictures"]
    assert (folder / "bashrc").read_text() == MINE


@pytest.fixture
def cloned(tmp_path, monkeypatch):
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")  # no safe.directory of this machine
    folder = tmp_path / "cloned"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def plant(repository, name, target, *, is_tracked=True):
    link = repository / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    if is_tracked:
        git(repository, "--literal-pathspecs", "add", "--force", name)
    return link


def work(folder):
    with folder.locked():
        folder._write(folder.images / "a.png", b"")


@pytest.mark.parametrize(
    "name", [f"{KEY}.lock", f"{KEY}.json", KEY, f"{KEY}/images", f"{KEY}/images/a.png"]
)
def test_every_path_that_a_sweep_writes_is_looked_at(cloned, victim, name):
    target = "bashrc" if "." in name else "pictures"
    plant(cloned, f".sdperf/sweep/{name}", victim / target)
    with pytest.raises(ConfigurationError, match="came with the repository"):
        work(SweepFolder(cloned / ".sdperf" / "sweep", KEY))


def test_a_link_of_ones_own_is_followed_but_not_to_a_link_of_the_repository(cloned, tmp_path):
    disk, inside = tmp_path / "disk", cloned / "data"
    disk.mkdir()
    plant(cloned, ".sdperf", disk, is_tracked=False)
    work(SweepFolder(cloned / ".sdperf" / "sweep", KEY))
    assert (disk / "sweep" / KEY / "images" / "a.png").exists()
    (cloned / ".sdperf").unlink()
    plant(cloned, "data", tmp_path)
    plant(cloned, ".sdperf", inside, is_tracked=False)
    with pytest.raises(ConfigurationError, match="data, a link that git tracks"):
        refuse_tracked_links("sweep", cloned / ".sdperf" / "sweep")


def test_a_link_that_leads_to_itself_is_looked_at_once(cloned):
    plant(cloned, "round", "below/../round", is_tracked=False)
    (cloned / "below").mkdir()
    refuse_tracked_links("sweep", cloned / "round" / "x")


@pytest.mark.parametrize("tracked", [".SDPERF", "a[b]*", ":(top)x"])
def test_a_name_is_compared_in_any_case_and_letter_by_letter(cloned, tmp_path, tracked):
    """On a disk that does not tell A from a, git's spelling may be another than ours."""
    plant(cloned, tracked, tmp_path)
    plant(cloned, "ab", tmp_path, is_tracked=False)
    refuse_tracked_links("sweep", cloned / "ab" / "x")
    other = cloned / tracked.swapcase()
    if not other.is_symlink():
        os.link(cloned / tracked, other, follow_symlinks=False)  # two names of one link
    with pytest.raises(ConfigurationError, match="came with the repository"):
        refuse_tracked_links("sweep", other / "x")


@pytest.mark.parametrize("tracked", [".SDPERF", ".sdperf", ".sdperf/a.json"])
def test_a_link_of_ones_own_where_git_tracks_a_folder_or_a_file_is_followed(
    cloned, tmp_path, tracked
):
    """The user moved what git tracks to another disk, or has a link beside a file of the name."""
    (cloned / tracked).parent.mkdir(exist_ok=True)
    (cloned / tracked).write_text("{}")
    git(cloned, "add", "--force", ".")
    if (cloned / ".sdperf").exists():
        (cloned / ".sdperf").rename(tmp_path / "moved")
    (tmp_path / "disk").mkdir()
    plant(cloned, ".sdperf", tmp_path / "disk", is_tracked=False)
    work(SweepFolder(cloned / ".sdperf" / "sweep", KEY))
    assert (tmp_path / "disk" / "sweep" / KEY).is_dir()


def bring_a_bare_repository(folder, settings):
    """Lay the files that make git take a folder for a repository, with a settings file."""
    for name in ("objects/k", "refs/heads/k"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "config").write_text(f"[core]\nrepositoryformatversion = 0\n{settings}")


@pytest.mark.parametrize("settings", ["bare = true", "bare = false\nworktree = ."])
@pytest.mark.parametrize("place", [".sdperf", ".sdperf/journal", ".sdperf/journal/s1"])
def test_a_bare_repository_within_hides_neither_a_link_nor_a_journal(
    cloned, victim, monkeypatch, capsys, settings, place
):
    head = JournalHead("s1", {}, "c" * 64, (), str(cloned), planned=3)
    journal = Journal.begin(cloned, head, JournalProcess(7, "2026-01-02T03:04:05+00:00"))
    link = plant(cloned, f"{place}/images", victim, is_tracked=False)
    git(cloned, "add", "--force", ".")
    bring_a_bare_repository(cloned / place, settings)
    git(cloned, "add", "--force", ".")
    with pytest.raises(ConfigurationError, match="images, a link that git tracks"):
        refuse_tracked_links("session", link / "x")
    assert is_tracked(journal.path)
    monkeypatch.chdir(cloned)
    assert main(["resume"]) == 2
    assert "the journal came with the repository" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["JOURNAL.jsonl", "\N{LATIN SMALL LETTER LONG S}.jsonl"])
def test_a_file_that_git_tracks_in_another_spelling_is_told_where_the_disk_takes_both_for_one(
    cloned, other
):
    mine = cloned / ("journal.jsonl" if other.isascii() else "s.jsonl")
    (cloned / other).touch()
    git(cloned, "add", "--force", ".")
    if not mine.exists():
        mine.touch()
        assert not is_tracked(mine)
        mine.unlink()
        os.link(cloned / other, mine)  # two names of one file
    assert is_tracked(mine)


@pytest.mark.parametrize("name", ["LITERAL", "GLOB", "NOGLOB", "ICASE"])
def test_no_variable_of_git_turns_the_check_off(cloned, tmp_path, monkeypatch, name):
    plant(cloned, "a[b]", tmp_path)
    monkeypatch.setenv(f"GIT_{name}_PATHSPECS", "1")
    with pytest.raises(ConfigurationError, match="came with the repository"):
        refuse_tracked_links("sweep", cloned / "a[b]" / "x")
    assert f"GIT_{name}_PATHSPECS" not in make_git_environment(os.environ)


def test_a_place_below_a_repository_without_files_is_ones_own(tmp_path):
    """Worktrees often lie beside a bare repository to which their folder's ``.git`` leads."""
    git(tmp_path, "init", "--quiet", "--bare", ".bare")
    (tmp_path / ".git").write_text("gitdir: ./.bare\n")
    (tmp_path / "disk").mkdir()
    plant(tmp_path, "tree/.sdperf", tmp_path / "disk", is_tracked=False)
    git(tmp_path / "tree", "init", "--quiet")
    work(SweepFolder(tmp_path / "tree" / ".sdperf" / "sweep", KEY))
    git(tmp_path / "tree", "add", "--force", ".sdperf")
    with pytest.raises(ConfigurationError, match="came with the repository"):
        work(SweepFolder(tmp_path / "tree" / ".sdperf" / "sweep", KEY))


@pytest.mark.parametrize("is_bare", [True, False])
def test_an_answer_from_another_repository_than_the_one_above_is_not_believed(
    cloned, tmp_path, is_bare
):
    inner = cloned / "inner"
    (inner / ".git").mkdir(parents=True)  # no repository, so git looks further
    if is_bare:
        bring_a_bare_repository(inner, "bare = true")
    (tmp_path / "disk").mkdir()
    plant(inner, ".sdperf", tmp_path / "disk", is_tracked=False)
    with pytest.raises(ConfigurationError, match="cannot be told"):
        refuse_tracked_links("sweep", inner / ".sdperf" / "x")
    (inner / "a.json").touch()
    with pytest.raises(ConfigurationError):
        is_tracked(inner / "a.json")


@pytest.mark.parametrize("reason", ["dubious ownership", "No such file"])
def test_where_git_cannot_answer_a_link_in_a_repository_is_refused(
    cloned, victim, monkeypatch, reason
):
    plant(cloned, ".sdperf/sweep", victim)
    if reason == "No such file":
        monkeypatch.setenv("PATH", "")
    else:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(ConfigurationError, match="cannot be told") as refused:
        work(SweepFolder(cloned / ".sdperf" / "sweep", KEY))
    assert reason in refused.value.got
    assert "git" in refused.value.hint


def test_without_git_a_link_outside_any_repository_is_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "disk").mkdir()
    plant(tmp_path, ".sdperf", "disk", is_tracked=False)
    work(SweepFolder(tmp_path / ".sdperf" / "sweep", KEY))
    assert (tmp_path / "disk" / "sweep").is_dir()


def test_a_lock_is_no_link_and_keeps_its_bytes_until_it_is_locked(cloned, victim):
    link = plant(cloned, f".sdperf/{LOCK_FILE}", victim / "bashrc", is_tracked=False)
    with pytest.raises(OSError, match="symbolic"):
        FolderLock.take(link.parent)
    with open_lock(victim / "bashrc"):
        assert (victim / "bashrc").read_text() == MINE


@pytest.mark.parametrize("name", [".sdperf", f".sdperf/{LOCK_FILE}"])
def test_a_comparison_takes_no_lock_at_a_place_that_a_repository_chose(cloned, victim, name):
    plant(cloned, name, victim / ("pictures" if name == ".sdperf" else "bashrc"))
    with (
        pytest.raises(ConfigurationError, match="came with the repository"),
        held_folder(cloned / ".sdperf", print),
    ):
        pass


def test_a_comparison_removes_nothing_at_a_place_that_a_repository_chose(cloned, victim):
    plant(cloned, str(FOLDER), victim)
    keeper = FileKeeper(cloned, None, resume=False, tell=print)
    cases = [MatrixCase(variant=Variant())]
    with pytest.raises(ConfigurationError, match="came with the repository"):
        keeper.open((side("a"), side("b")), CompareOptions(), cases, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("name", [".sdperf/tune.db", ".sdperf/tune.db-journal"])
def test_a_study_is_not_kept_at_a_place_that_a_repository_chose(cloned, victim, name):
    plant(cloned, name, victim / "new.db")
    with pytest.raises(ConfigurationError, match="came with the repository"):
        locate_storage(None, cloned)
    assert locate_storage("mine.db", cloned).database == "mine.db"


@pytest.mark.parametrize(
    "name",
    [
        *(".sdperf", ".sdperf/images", ".sdperf/journal/one"),
        *(".sdperf/evidence", ".sdperf/null-controls.jsonl"),
    ],
)
def test_a_session_removes_nothing_at_a_place_that_a_repository_chose(cloned, victim, name):
    plant(cloned, name, victim)
    with pytest.raises(ConfigurationError, match="the session came with the repository"):
        refuse_chosen_places(cloned)


@pytest.mark.parametrize(
    "name", [".sdperf", *(f".sdperf/history.db{one}" for one in ("", "-journal", "-wal", "-shm"))]
)
def test_the_history_is_neither_made_nor_read_at_a_place_that_a_repository_chose(
    cloned, victim, monkeypatch, capsys, name
):
    monkeypatch.delenv("SDPERF_HISTORY", raising=False)
    plant(cloned, name, victim / ("pictures" if name == ".sdperf" else "new.db"))
    with pytest.raises(ConfigurationError, match="the history came with the repository"):
        check_packages(SimpleNamespace(cluster="x", history="", html=None), cloned)
    (told,) = keep_in_history("", "{}", cloned)
    assert "the history came with the repository" in told
    monkeypatch.chdir(cloned)
    assert main(["history", "import", "."]) == main(["history", "list"]) == 2
    assert "the history came with the repository" in capsys.readouterr().err


def test_a_history_that_the_user_names_is_where_it_is_named(cloned, victim, monkeypatch):
    plant(cloned, ".sdperf/history.db", victim / "new.db")
    assert locate_history("mine.db", cloned) == "sqlite:///mine.db"
    monkeypatch.setenv("SDPERF_HISTORY", "postgresql://server/sdperf")
    assert locate_history(None, cloned) == "postgresql://server/sdperf"


@pytest.mark.parametrize("name", [".sdperf", ".sdperf/journal"])
def test_resume_forgets_nothing_at_a_place_that_a_repository_chose(
    cloned, tmp_path, monkeypatch, capsys, name
):
    head = JournalHead("s1", {}, "c" * 64, (), str(cloned), planned=3)
    process = JournalProcess(7, "2026-01-02T03:04:05+00:00")
    other = Journal.begin(tmp_path / "other", head, process)
    plant(cloned, name, tmp_path / "other" / name)
    monkeypatch.chdir(cloned)
    assert main(["resume", "--forget"]) == main(["resume"]) == 2
    assert "came with the repository" in capsys.readouterr().err
    assert other.path.exists()
    assert not (tmp_path / "other" / ".sdperf" / LOCK_FILE).exists()


@pytest.mark.parametrize("name", ["a b; touch c", "it's", "-r"])
def test_the_name_of_a_link_is_typed_as_one_word(cloned, victim, name):
    link = plant(cloned, f".sdperf/{name}", victim / "pictures")
    with pytest.raises(ConfigurationError, match="came with the repository") as refused:
        refuse_tracked_links("history", link)
    typed = refused.value.hint.partition(", then ")[0]
    assert shlex.split(typed) == ["git", "rm", "--cached", "--", f".sdperf/{name}"]
