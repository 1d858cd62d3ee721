"""Places that a repository chose by a link are refused before anything is written there."""

from types import SimpleNamespace

import pytest

from sdperf.ab.keeping import FOLDER, FileKeeper
from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.cli import main
from sdperf.cli.ab import held_folder
from sdperf.errors import ConfigurationError
from sdperf.folders import open_lock
from sdperf.git.links import refuse_tracked_links
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
        other.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="came with the repository"):
        refuse_tracked_links("sweep", other / "x")


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
