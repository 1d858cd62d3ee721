import subprocess

import pytest

from sdperf.bisect.commits import describe_commit, read_history, resolve_commit
from sdperf.bisect.search import weigh_answers
from sdperf.errors import ConfigurationError
from tests.support.repositories import Repository


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "project")


@pytest.fixture
def merged(repository):
    """good - a - b - merge - d, with side - x - y merged; side is older than good."""
    repository.commit("root")
    repository.git("branch", "side")
    for name in ("good", "a", "b"):
        repository.commit(name)
    repository.git("switch", "--quiet", "side")
    for name in ("x", "y"):
        repository.commit(name)
    repository.git("switch", "--quiet", "main")
    repository.merge("merge", "side")
    repository.commit("d")
    return repository


def names_of(repository, commits):
    known = {commit: name for name, commit in repository.hashes.items()}
    return [known[commit] for commit in commits]


def test_the_suspects_are_those_of_git_bisect(merged):
    history = read_history(merged.folder, merged.hashes["good"], merged.hashes["d"])
    assert set(names_of(merged, history.steps)) == {"a", "b", "x", "y", "merge", "d"}
    listed = merged.git("rev-list", "--bisect-all", merged.hashes["d"], f"^{merged.hashes['good']}")
    assert {line.split()[0] for line in listed.splitlines()} == set(history.steps)


def test_the_first_choice_halves_as_well_as_gits(merged):
    good, bad = merged.hashes["good"], merged.hashes["d"]
    history = read_history(merged.folder, good, bad)
    ours = weigh_answers(history, {}).next_step
    scores = {
        line.split()[0]: int(line.split("dist=")[1].split(")")[0].split(",")[0])
        for line in merged.git("rev-list", "--bisect-all", bad, f"^{good}").splitlines()
    }
    assert scores[ours] == max(scores.values())


def test_first_parents_alone_leave_the_branch_out(merged):
    history = read_history(
        merged.folder, merged.hashes["good"], merged.hashes["d"], first_parent=True
    )
    assert names_of(merged, history.steps) == ["a", "b", "merge", "d"]


@pytest.mark.parametrize("revision", ["nothing", "--all", "", "HEAD~99", "main:mine.py", "f" * 40])
def test_an_unknown_revision_is_named(repository, revision):
    repository.commit("a")
    with pytest.raises(ConfigurationError, match="no such revision"):
        resolve_commit(repository.folder, revision)


def test_branches_tags_and_expressions_are_resolved(repository):
    first = repository.commit("a")
    repository.git("tag", "-a", "-m", "one", "v1")
    repository.commit("b")
    assert resolve_commit(repository.folder, "v1") == first
    assert resolve_commit(repository.folder, "main~1") == first
    assert resolve_commit(repository.folder, first[:10]) == first


def test_ends_in_the_wrong_order_are_told_apart_from_ends_that_parted(merged):
    good, bad = merged.hashes["good"], merged.hashes["d"]
    with pytest.raises(ConfigurationError, match="no ancestor") as error:
        read_history(merged.folder, bad, good)
    assert error.value.hint == f"sdperf bisect {good[:12]} {bad[:12]}"
    with pytest.raises(ConfigurationError, match="no ancestor") as error:
        read_history(merged.folder, merged.hashes["y"], merged.hashes["b"])
    assert merged.hashes["root"][:12] in error.value.hint
    words = ("the first commit", "the last one", "sdperf sweep --commits {}..{}")
    with pytest.raises(ConfigurationError, match="the first commit is no ancestor") as error:
        read_history(merged.folder, bad, good, words=words)
    assert error.value.hint == f"sdperf sweep --commits {good[:12]}..{bad[:12]}"
    with pytest.raises(ConfigurationError, match="itself"):
        read_history(merged.folder, good, good)


def test_histories_with_nothing_in_common_are_refused(repository):
    repository.commit("a")
    repository.git("switch", "--quiet", "--orphan", "other")
    repository.commit("b")
    with pytest.raises(ConfigurationError, match="no commit in common"):
        read_history(repository.folder, repository.hashes["a"], repository.hashes["b"])


def clone_shallow(repository, folder, depth):
    subprocess.run(
        ["git", "clone", "--quiet", f"--depth={depth}", f"file://{repository.folder}", folder],
        check=True,
        capture_output=True,
    )
    return folder


def test_a_shallow_clone_is_refused_where_it_lacks_something(merged, tmp_path):
    good, bad = merged.hashes["good"], merged.hashes["d"]
    shallow = clone_shallow(merged, tmp_path / "two", 2)
    with pytest.raises(ConfigurationError, match="no such revision") as error:
        resolve_commit(shallow, good)
    assert "--unshallow" in error.value.hint
    # deep enough for the line good..d, but the branch that was merged is cut
    deeper = clone_shallow(merged, tmp_path / "three", 3)
    with pytest.raises(ConfigurationError, match="shallow") as error:
        read_history(deeper, merged.hashes["b"], bad)
    assert error.value.hint == "git fetch --unshallow"
    enough = clone_shallow(merged, tmp_path / "six", 6)
    assert len(read_history(enough, good, bad).steps) == 6


def test_a_commit_is_described_with_what_it_changed(repository):
    repository.commit("a")
    repository.git("mv", "a.txt", "renamed.txt")
    (repository.folder / "a b.txt").write_text("with a blank")
    commit = repository.commit("b", text="VALUE = 'other'\n")
    info = describe_commit(repository.folder, commit)
    assert info.commit == commit
    assert info.subject == "Add b"
    assert info.author == "t"
    assert info.author_date[:2] == "20"
    assert info.parents == (repository.hashes["a"],)
    assert set(info.files) == {
        ("A", "a b.txt"),
        ("A", "b.txt"),
        ("M", "mine.py"),
        ("R", "a.txt -> renamed.txt"),
    }


def test_a_root_and_a_merge_are_described_too(merged):
    root = describe_commit(merged.folder, merged.hashes["root"])
    assert root.parents == ()
    assert ("A", "mine.py") in root.files
    merge = describe_commit(merged.folder, merged.hashes["merge"])
    assert len(merge.parents) == 2
    assert {path for _, path in merge.files} >= {"x.txt", "y.txt"}
