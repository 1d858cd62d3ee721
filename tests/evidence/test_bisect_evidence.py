import random

import pytest

from evidence.bisect_evidence.power import BORDERS, LIMIT_LOG, NOISES, simulate_search
from evidence.bisect_evidence.repository import BROKEN, CULPRIT, make_repository, plan_commits
from sdperf.bisect.commits import describe_commit, read_history
from sdperf.bisect.search import make_chain

NOISE = {noise.name: noise for noise in NOISES}


@pytest.mark.parametrize("planted", ["slow", "slower", "image"])
def test_sixteen_commits_hold_one_that_plants_something(tmp_path, planted):
    good, *after = make_repository(tmp_path / "studio", planted)
    assert len(after) == 16
    history = read_history(tmp_path / "studio", good, after[-1])
    assert history.steps == tuple(after)
    info = describe_commit(tmp_path / "studio", after[CULPRIT - 1])
    names = dict.fromkeys(("slow", "slower"), "studio/checks.py") | {"image": "studio/settings.py"}
    assert info.files == (("M", names[planted]),)
    for commit in (plan for place, plan in enumerate(plan_commits(planted)) if place != CULPRIT):
        changed = set(commit.files) & {"studio/checks.py", "studio/settings.py"}
        assert not changed or commit.subject == "Open the studio"


def test_the_hashes_are_the_same_everywhere(tmp_path):
    assert make_repository(tmp_path / "a", "slow") == make_repository(tmp_path / "b", "slow")


def test_only_the_broken_commit_does_not_import(tmp_path):
    files = {}
    for place, commit in enumerate(plan_commits("slow")):
        files |= commit.files
        source = files.get("studio/prompts.py", "")
        assert ("studio.moods" in source) == (place == BROKEN)


def endings(noise, percent, border, count=150):
    history, rng = make_chain([str(index) for index in range(16)]), random.Random(7)
    return [
        simulate_search(
            history,
            rng.choice(history.steps),
            percent,
            NOISE[noise],
            BORDERS[border],
            rng,
        )
        for _ in range(count)
    ]


def share(found, word):
    return sum(one.word == word for one in found) / len(found)


def test_a_loss_is_found_and_the_wrong_step_is_almost_never_named():
    found = endings("typical", 0.0953, "limit or half (shipped)")
    assert share(found, "found") >= 0.98
    noisy = endings("shared", 0.0953, "limit or half (shipped)", 300)
    assert share(noisy, "wrong") <= 0.01
    assert share(noisy, "found") + share(noisy, "range") >= 0.99


def test_the_border_between_the_ends_beats_the_limit_and_never_goes_below_it():
    shipped = endings("shared", 0.0953, "limit or half (shipped)")
    at_limit = endings("shared", 0.0953, "limit")
    assert share(shipped, "found") > share(at_limit, "found") + 0.3
    small = endings("typical", 0.0392, "limit or half (shipped)")
    at_half = endings("typical", 0.0392, "half")
    assert share(small, "found") >= share(at_half, "found")
    assert sum(one.blocks for one in small) < sum(one.blocks for one in at_half)


def test_nothing_is_named_where_nothing_was_lost():
    found = endings("typical", 0.0, "limit or half (shipped)", 300)
    assert share(found, "nothing") >= 0.98
    assert share(found, "wrong") == 0
    assert LIMIT_LOG > 0
