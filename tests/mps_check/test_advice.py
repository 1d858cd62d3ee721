"""The best known torch: fewest faults first, then fewest slow paths, then the newest."""

from packaging.version import Version

from sdperf.mps_check.advice import choose_torch
from sdperf.mps_check.limits import parse_limit
from tests.mps_check.test_limits import SOUND

VERSIONS = ("2.8.0", "2.9.0", "2.10.0")


def limit(name, torch, **fields):
    return parse_limit(SOUND | {"id": name, "torch": torch, **fields})


def choose(*limits, macos="26.1", chip="Apple M4", installed="2.8.0"):
    version = None if installed is None else Version(installed)
    return choose_torch(VERSIONS, limits, macos=Version(macos), chip=chip, installed=version)


def test_the_fewest_faults_win_over_the_newest():
    advice = choose(limit("new", ">=2.10"), limit("old", "<2.9"))
    assert advice.best == "2.9.0"
    assert advice.best_faults == ()
    assert advice.avoided == ("old",)
    assert (
        advice.describe() == "2.9.0 has the fewest known faults here (0 of the list); it avoids old"
    )


def test_slow_paths_decide_between_equals_and_age_between_those():
    assert choose(limit("slow", ">=2.10", effect="slow")).best == "2.9.0"
    assert choose().best == "2.10.0"


def test_faults_of_other_systems_and_chips_do_not_count():
    elsewhere = limit("elsewhere", ">=2.10", macos=">=27")
    other_chip = limit("other", ">=2.10", chips="M1")
    virtual = limit("virtual", ">=2.10", chips="virtual machines")
    assert choose(elsewhere, other_chip, virtual).best == "2.10.0"
    assert choose(other_chip, chip="Apple M1").best == "2.9.0"
    assert choose(other_chip, chip=None).best == "2.9.0"
    assert choose(virtual, chip="Apple M1 (Virtual)").best == "2.9.0"


def test_a_system_that_newer_versions_do_not_run_on_gets_an_older_one():
    assert choose(macos="13.6").best == "2.8.0"


def test_an_installed_version_past_the_list_is_said():
    assert "newer than the list" in choose(installed="3.0").describe()
    assert choose(installed=None).avoided == ()
