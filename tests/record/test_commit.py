import pytest

from sdperf.record.commit import CommitInfo, parse_commit_info


@pytest.mark.parametrize("placeholder", ["unknown", "unversioned", "", "None", None, 7])
def test_a_placeholder_is_no_commit_and_says_nothing_of_changes(placeholder):
    raw = {"id": placeholder, "dirty": False, "branch": "(unknown)"}
    assert parse_commit_info(raw) == CommitInfo()


@pytest.mark.parametrize("raw", [None, [], "main", {}])
def test_what_is_no_commit_info_says_nothing(raw):
    assert parse_commit_info(raw) == CommitInfo()


def test_a_commit_is_read_with_its_branch_and_its_changes():
    raw = {"id": "6" * 40, "dirty": True, "branch": "main"}
    assert parse_commit_info(raw) == CommitInfo("6" * 40, is_dirty=True, branch="main")
    assert parse_commit_info(raw | {"branch": "(detached head)"}).branch is None
