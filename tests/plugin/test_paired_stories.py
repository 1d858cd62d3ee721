"""Screen, null control, the baseline's own code in a worktree, verdict: whole sessions of it."""

import json
import math
import signal
import subprocess

import pytest

from sdperf.cli import main
from sdperf.store.runs import read_run
from tests.support.stories import accept_sessions

LATENCY = ("-k", "latency", "--benchmark-autosave")
PLAIN = """
def make(request):
    return request.load()
"""
TWO_CALLS_MORE = """
def make(request):
    pipeline = request.load()
    forward = pipeline.unet.forward

    def twice_at_the_end(sample, timestep, *arguments, **named):
        if timestep < 400:
            forward(sample, timestep, *arguments, **named)
        return forward(sample, timestep, *arguments, **named)

    pipeline.unet.forward = twice_at_the_end
    return pipeline
"""


class Repository:
    """The test's folder as a git repository whose subject is what is measured."""

    def __init__(self, pytester):
        self.folder = pytester.path
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit(PLAIN)

    def git(self, *arguments):
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, code):
        (self.folder / "mine.py").write_text(code)
        self.git("add", "mine.py")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(pytester):
    return Repository(pytester)


@pytest.fixture
def run(bench, hosts, repository):
    """Run the benchmarks of the subject; its seconds follow from the denoiser's evaluations."""
    hosts.unet_call_s = 0.5
    hosts.drift = lambda made: 1 + 0.002 * math.sin(made)

    def run(*arguments, **options):
        hosts.hosts = 0
        return bench(*LATENCY, *arguments, spawned=True, workers=1, subject="mine:make", **options)

    return run


def last_run(pytester):
    return read_run(pytester.path / ".sdperf/last-run.json").summary


def controls(pytester):
    log = pytester.path / ".sdperf/null-controls.jsonl"
    lines = log.read_text().split("\n") if log.exists() else []
    return [json.loads(line)["control"]["is_sound"] for line in lines if line]


def test_a_slower_commit_is_found_beside_the_baselines_own_code(run, accept, repository, pytester):
    accept_sessions(pytester, run, accept)
    before = repository.git("rev-parse", "HEAD")
    unchanged = run("--benchmark-compare")
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(
        [
            "sdperf confirm: comparing the same code with itself, at most*",
            "null control passed: latency* differs from itself by * % in 4 blocks (*",
            "1 case: 1 PASS",
        ]
    )
    after = repository.commit(TWO_CALLS_MORE)
    slower = run("--benchmark-compare")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        [
            "sdperf confirm: measuring 1 suspect again, at most*",
            "compared with the baselines of this machine: 5 accepted sessions*",
            "null control passed: latency*",
            f"latency*: paired with the baseline's commit {before[:12]}",
            "SLOWER  latency*: +50.* % in 4 paired blocks*",
            "1 case: 1 SLOWER",
            "not saved: a run with a failure is never a baseline",
        ]
    )
    assert last_run(pytester).null_control.is_sound is True
    assert controls(pytester) == [True, True]
    assert len(repository.git("worktree", "list").splitlines()) == 1
    assert repository.git("rev-parse", "HEAD") == after


def test_a_suspicion_that_pairs_do_not_confirm_clears(run, accept, hosts, pytester):
    accept_sessions(pytester, run, accept)
    hosts.host_factor = lambda number: 1.08 if number == 1 else 1.0
    cleared = run("--benchmark-compare")
    assert cleared.ret == 0
    cleared.stdout.fnmatch_lines(
        [
            "latency*: paired with the baseline's commit *; * % in 4 paired blocks",
            "    (* % to * %), limit +3.0 %; the suspicion was noise",
            "1 case: 1 PASS",
        ]
    )
    assert accept() == 0


@pytest.mark.parametrize("strict", [(), ("--sd-strict",)])
def test_a_failed_null_control_voids_the_session(run, accept, hosts, pytester, capsys, strict):
    accept_sessions(pytester, run, accept)
    saved = sorted(pytester.path.glob(".benchmarks/*/*.json"))
    hosts.host_factor = lambda number: 1.3 if number in (3, 4, 7, 8) else 1.0  # B of the control
    void = run(
        "--benchmark-compare", "--benchmark-compare-fail=median:1%", "--benchmark-json=run.json",
        *strict,
    )  # fmt: skip
    assert void.ret == 6
    void.stdout.fnmatch_lines(
        [
            "null control FAILED: latency* differs from itself by * % in 4 blocks (*",
            "INCONCLUSIVE  latency*: void: the same code differs from itself by *",
            "1 case: 1 INCONCLUSIVE",
            "void, exit status 6: the same code differs from itself by *",
            "not saved: a void run is never a baseline",
        ]
    )
    assert sorted(pytester.path.glob(".benchmarks/*/*.json")) == saved
    capsys.readouterr()
    for path in ((), (str(pytester.path / "run.json"),)):
        assert accept(*path) == 2
        assert "is void; got: the same code differs from itself" in capsys.readouterr().err
    assert controls(pytester) == [False]
    assert main(["baseline", "show", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "null control: none, the run was compared with nothing" in shown
    assert "null controls on this machine: 1 run, 1 failed" in shown


@pytest.mark.long
def test_a_run_that_is_asked_to_end_removes_the_worktree_and_says_so_far(
    run, accept, repository, hosts, pytester
):
    accept_sessions(pytester, run, accept)
    repository.commit(TWO_CALLS_MORE)

    asked = []

    def end_in_a_pair(number):
        if number == 12 and not asked:
            asked.append(len(repository.git("worktree", "list").splitlines()))
            signal.raise_signal(signal.SIGTERM)
        return 1.0

    hosts.host_factor = end_in_a_pair
    before = signal.getsignal(signal.SIGTERM)
    ended = run("--benchmark-compare")
    assert ended.ret == 2
    ended.stdout.fnmatch_lines(
        [
            "interrupted while measuring again",
            "interrupted while measuring again: this is the verdict so far; *",
        ]
    )
    assert asked == [2]
    assert len(repository.git("worktree", "list").splitlines()) == 1
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.long
def test_with_fewer_than_five_sessions_it_is_repeated_not_paired(
    run, accept, repository, hosts, pytester
):
    accept_sessions(pytester, run, accept, count=2)
    before = repository.git("rev-parse", "HEAD")
    repository.commit(TWO_CALLS_MORE)
    gross = run("--benchmark-compare")
    assert gross.ret == 1
    gross.stdout.fnmatch_lines(
        [
            "only +25.0 % fails; 3 more accepted sessions for the limit of +3.0 % to bind",
            "null control passed: latency*",
            "latency*: repeated in 3 fresh processes, not paired: fewer than five sessions*",
            "SLOWER  latency*: +50.* % over 4 processes (+*), limit",
            "    +25.0 %; drift of the machine is not excluded",
        ]
    )
    hosts.unet_call_s = 0.5 * 1.15 * 2 / 3
    advice = run("--benchmark-compare")
    assert advice.ret == 0
    advice.stdout.fnmatch_lines(
        ["INCONCLUSIVE  latency*+1?.? %*", "*next: 3 more accepted sessions for the limit to bind*"]
    )
    said = " ".join(advice.stdout.str().split())
    assert f"or, at once: sdperf ab {before[:12]} . --cases 'latency[fp32-sync-1w]'" in said
    assert "--subject mine:make" in said


def test_without_time_to_confirm_nothing_is_controlled_and_that_is_said(run, accept, pytester):
    accept_sessions(pytester, run, accept, count=1)
    hasty = run("--benchmark-compare", confirm=0)
    assert hasty.ret == 0
    hasty.stdout.fnmatch_lines(["no null control, and nothing was measured again: --sd-confirm 0"])
    assert last_run(pytester).null_control is None
    assert controls(pytester) == []
    short = run("--benchmark-compare", confirm=20)
    short.stdout.fnmatch_lines(
        ["no null control: it would take about * s; leave --sd-confirm out: its default of 900 *"]
    )
    assert last_run(pytester).null_control.is_sound is None


@pytest.mark.long
def test_a_commit_that_is_not_here_is_repeated_instead(run, accept, repository, pytester):
    accept_sessions(pytester, run, accept)
    repository.git("checkout", "--quiet", "--orphan", "new")
    repository.commit(TWO_CALLS_MORE)
    repository.git("branch", "-D", "main")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    slower = run("--benchmark-compare")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        [
            "latency*: repeated in 3 fresh processes, not paired: git worktree failed; got: fatal*",
            "SLOWER  latency* over 4 processes*",
            "*drift of the machine is not excluded",
        ]
    )
