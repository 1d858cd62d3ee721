from pathlib import Path

import pytest

from sdperf.ab.sides.revisions import resolve_revision
from sdperf.ab.sides.worktree import checked_out, find_repository, map_search_path
from sdperf.errors import ConfigurationError
from sdperf.git.command import run_git
from tests.support.repositories import git


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "mine.py").write_text("VALUE = 'old'\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "old")
    return folder


def test_an_old_commit_lies_beside_and_is_gone_afterwards(repository):
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "mine.py").write_text("VALUE = 'new'\n")
    with checked_out(find_repository(repository), commit) as folder:
        assert (folder / "mine.py").read_text() == "VALUE = 'old'\n"
        assert (repository / "mine.py").read_text() == "VALUE = 'new'\n"
    assert not folder.exists()
    assert git(repository, "worktree", "list").count("\n") == 0
    assert git(repository, "status", "--short") == "M mine.py"


@pytest.mark.parametrize("commit", ["", "--force", "HEAD", "f" * 40, "a" * 40 + "-dirty"])
def test_what_is_no_commit_here_is_refused(repository, commit):
    with pytest.raises(ConfigurationError), checked_out(repository, commit):
        pass
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_folder_outside_any_repository_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="git"):
        find_repository(tmp_path)


def test_only_paths_inside_the_repository_are_mapped():
    mapped = map_search_path(
        ["/p", "/p/src", "/lib", "/p/src", "/pp"], Path("/p"), Path("/tree/code")
    )
    assert mapped == ("/tree/code", "/tree/code/src")


def test_no_hook_runs_and_no_inherited_place_leads_elsewhere(repository, tmp_path, monkeypatch):
    commit = git(repository, "rev-parse", "HEAD").strip()
    ran = tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction"):
        hook = repository / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    watcher = tmp_path / "watcher"
    watcher.write_text(f"#!/bin/sh\ntouch {ran}\n")
    watcher.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(watcher))
    ran.unlink(missing_ok=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    with checked_out(find_repository(repository), commit) as folder:
        assert (folder / "mine.py").is_file()
        run_git(folder, "status")
    assert not ran.exists()


def test_a_repository_of_another_user_is_refused_with_the_command_that_git_advises(
    repository, monkeypatch
):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    with pytest.raises(ConfigurationError) as refused:
        run_git(repository, "rev-parse", "HEAD")
    assert refused.value.got.startswith("fatal: detected dubious ownership in repository")
    assert refused.value.hint.startswith("git config --global --add safe.directory ")


def test_a_shallow_clone_is_named_where_it_lacks_a_revision(repository, tmp_path):
    old = git(repository, "rev-parse", "HEAD")
    (repository / "mine.py").write_text("VALUE = 'new'\n")
    git(repository, "commit", "--quiet", "-am", "new")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow))
    with pytest.raises(ConfigurationError, match="this clone, which is shallow") as refused:
        resolve_revision(shallow, old)
    assert refused.value.hint == "git fetch --unshallow --tags"
    with pytest.raises(ConfigurationError, match="no such revision; got: -x"):
        resolve_revision(shallow, "-x")
