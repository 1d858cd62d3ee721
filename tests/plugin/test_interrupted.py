"""What dies with a run: nothing that was finished."""

import functools
import json
import signal

import pytest

from sdperf.plugin import journalling
from sdperf.run.case import Case
from sdperf.store.code import hash_code
from sdperf.store.journal import list_journals, read_journal
from tests.support.forked_workers import ForkedWorker, fork_preloaded
from tests.support.killed import PRINTED, run_session


def last_run(pytester):
    return json.loads((pytester.path / ".sdperf/last-run.json").read_text())


@pytest.fixture
def interrupted(bench, pytester, unwatched):
    """A session of three cases and a skip, ended in the second case; returns how to run again."""
    pytester.makepyfile(
        test_bench="""
        import pathlib

        import pytest

        def test_latency(sd_benchmark):
            sd_benchmark.latency()

        def test_stage(sd_benchmark):
            if pathlib.Path("stop").exists():
                pytest.exit("as Ctrl-C would")
            sd_benchmark.stage("deliver")

        def test_soundness(sd_quality):
            sd_quality.soundness()

        def test_soak(sd_benchmark):  # skipped without --sd-soak
            sd_benchmark.soak()
        """
    )
    (pytester.path / "stop").touch()
    first = bench("-rN")
    (pytester.path / "stop").unlink()
    return first


def test_ctrl_c_judges_what_is_complete_and_says_what_was_left_out(interrupted, pytester):
    assert interrupted.ret == 2
    interrupted.stdout.fnmatch_lines(
        ["interrupted: *; left out: 2 cases (stage*soundness*", "*sdperf resume goes on*"]
    )
    (path,) = list_journals(pytester.path)
    assert list(read_journal(path).entries) == ["test_bench.py::test_latency[fp32-sync-1w]"]
    assert last_run(pytester)["sdperf"]["interrupted"] is True


def test_a_resumed_session_measures_nothing_twice(interrupted, bench, pytester, monkeypatch):
    before = last_run(pytester)["benchmarks"][0]
    measured = []
    measure_round = Case.measure_round
    monkeypatch.setattr(
        Case, "measure_round", lambda case: measured.append(case.kind) or measure_round(case)
    )
    resumed = bench("--sd-resume", "--benchmark-autosave")
    assert resumed.ret == 0, resumed.stdout.str()
    assert set(measured) == {"stage"}
    resumed.stdout.fnmatch_lines(["*left 1 finished case of 4 selected*", "resumed: 1 case*"])
    resumed.stdout.fnmatch_lines(["not saved: a resumed run is never a baseline*"])
    document = last_run(pytester)
    after = next(one for one in document["benchmarks"] if one["fullname"] == before["fullname"])
    assert after["stats"]["data"] == before["stats"]["data"]
    assert after["extra_info"]["sdperf"]["rounds_s"] == before["extra_info"]["sdperf"]["rounds_s"]
    assert list(document["sdperf"]["earlier"]) == ["test_bench.py::test_latency[fp32-sync-1w]"]
    assert len(document["benchmarks"]) == 2
    assert list_journals(pytester.path) == []


def test_a_resumed_run_is_no_baseline(interrupted, bench, accept, capsys):
    assert bench("--sd-resume").ret == 0
    assert accept() == 2
    assert "resumed after an interruption" in capsys.readouterr().err


@pytest.fixture
def cut_off(bench, script, accept, pytester):
    """A session of one slower case whose user ends it while that is measured again."""
    pytester.makepyfile(test_bench="def test_latency(sd_benchmark): sd_benchmark.latency()")
    assert bench().ret == 0
    assert accept() == 0
    rounds, script.seconds = script.rounds, {1: 3.0}

    def end(made):
        if made > 2 * rounds:
            raise KeyboardInterrupt
        return 1.0

    script.drift = end
    ended = bench("--benchmark-compare")
    script.drift = lambda _: 1.0
    return ended


def test_a_suspicion_that_ctrl_c_kept_from_being_confirmed_is_open(cut_off):
    assert cut_off.ret == 2
    cut_off.assert_outcomes(passed=1)
    shown = " ".join(" ".join(cut_off.outlines).split())
    assert "sdperf confirm: measured 0 of 1 suspect again, interrupted (" in shown
    assert "INCONCLUSIVE latency[fp32-sync-1w]: suspected, not confirmed: 3.00 s against" in shown
    assert "; measuring it again was interrupted next: pytest" in shown
    assert "1 case: 1 INCONCLUSIVE" in shown
    assert "measured 1 suspect again" not in shown
    assert "not measured again" not in shown


def test_resuming_measures_the_suspects_again_and_no_case(cut_off, bench, monkeypatch):
    cut_off.stdout.fnmatch_lines(
        ["interrupted while measuring again: *; sdperf resume measures the suspects", "*twice"]
    )
    resumed = bench("--sd-resume", "--benchmark-compare")
    assert resumed.ret == 1
    resumed.stdout.fnmatch_lines(["*left 1 finished case of 1*", "*measured 1 suspect again (*"])
    resumed.stdout.fnmatch_lines(["SLOWER  latency*: +200.0 % over 4 processes*"])


def test_a_session_that_ended_before_it_could_confirm_accuses_nobody(
    bench, script, accept, pytester
):
    case = "def test_{}(sd_benchmark): sd_benchmark.latency()"
    pytester.makepyfile(test_bench=case.format("latency"))
    assert bench().ret == 0
    assert accept() == 0
    script.seconds = {1: 3.0}
    stop = "\nimport pytest\ndef test_stop(): pytest.exit('as Ctrl-C would')\n"
    pytester.makepyfile(test_bench=case.format("latency") + stop)
    ended = bench("--benchmark-compare")
    assert ended.ret == 2
    ended.stdout.fnmatch_lines(["INCONCLUSIVE  latency*: suspected, not confirmed: 3.00 s*"])
    by_numbers = bench("--benchmark-compare", confirm="0")
    by_numbers.stdout.fnmatch_lines(["SLOWER  latency*: 3.00 s against*"])


@pytest.fixture
def asked_to_end(bench, pytester, monkeypatch, unwatched):
    """Run two cases while another process asks the session to end; returns what runs it.

    The signal comes in the round of that number.
    """
    pytester.makepyfile(test_bench=KILLED.partition("def test_soundness")[0])
    measure_round, made = Case.measure_round, []
    inline_run = functools.partial(pytester.inline_run, no_reraise_ctrlc=True)
    monkeypatch.setattr(pytester, "inline_run", inline_run)

    def run(kind, moment, *arguments):
        def measure(case):
            made.append(case)
            if len(made) == moment:
                signal.raise_signal(kind)
            return measure_round(case)

        monkeypatch.setattr(Case, "measure_round", measure)
        ended = bench(*arguments)
        monkeypatch.setattr(Case, "measure_round", measure_round)
        return ended

    return run


@pytest.fixture
def heard():
    """Hear Ctrl-C and the end of the terminal, also where these tests run in the background."""
    usual = {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    before = {kind: signal.signal(kind, handler) for kind, handler in usual.items()}
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_being_asked_to_end_in_a_case_is_like_ctrl_c(asked_to_end, kind, heard, pytester):
    before = signal.getsignal(kind)
    ended = asked_to_end(kind, 3)
    assert ended.ret == 2
    ended.stdout.fnmatch_lines(
        [
            "sdperf latency?fp32-sync-1w?: * per image, 2 rounds *",
            "sdperf throughput?fp32-sync-1w?: interrupted (*",
            "latency[[]fp32-sync-1w] * NO BASELINE",
            "interrupted: *; left out: 1 case (throughput*",
        ]
    )
    assert signal.getsignal(kind) == before
    assert last_run(pytester)["sdperf"]["interrupted"] is True


def test_a_session_that_ended_in_its_first_case_says_so_and_saves_nothing(asked_to_end, pytester):
    ended = asked_to_end(signal.SIGTERM, 2, "--benchmark-autosave", "--benchmark-json=run.json")
    assert ended.ret == 2
    ended.stdout.fnmatch_lines(
        [
            "interrupted before a case had finished (2 cases left out): nothing is judged or kept",
            "not saved: an interrupted run is never a baseline",
        ]
    )
    assert not any(line.startswith("case ") for line in ended.outlines)
    assert list(pytester.path.glob(".benchmarks/**/*.json")) == []
    assert not (pytester.path / ".sdperf/last-run.json").exists()


KILLED = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()

def test_soundness(sd_quality):
    sd_quality.soundness()

def test_repeatability(sd_quality):
    sd_quality.repeatability()
"""


@pytest.mark.parametrize(
    "moment",
    [
        *(1, 6, 12, 19),
        *(pytest.param(one, marks=pytest.mark.long) for one in (2, 4, 8, 10, 14, 16, 18, 99)),
    ],
)
def test_killed_at_any_moment_nothing_finished_is_lost(
    bench, script, pytester, monkeypatch, moment
):
    """Moments are calls that sync something or measure a round, counted over the whole session."""
    pytester.makepyfile(test_bench=KILLED)
    bench = functools.partial(
        bench, "--sd-device=cpu"
    )  # the session that is killed sees a Mac's GPU
    noted = pytester.path / "finished.txt"
    noted.touch()
    # The session that is killed runs elsewhere and hashes all.
    monkeypatch.setattr(journalling, "hash_code", hash_code)
    arguments = []
    with monkeypatch.context() as patched:
        patched.setattr(
            pytester, "runpytest_inprocess", lambda *given: arguments.extend(map(str, given))
        )
        bench()
    fork_preloaded()
    child = ForkedWorker(target=run_session, args=(str(pytester.path), arguments, moment))
    child.start()
    child.join()
    finished = noted.read_text().split()
    if child.exitcode == 0:
        assert moment == 99, "the session ended before that moment"
        assert len(finished) == 4
        assert list_journals(pytester.path) == []
        return
    assert child.exitcode == -signal.SIGKILL, (pytester.path / PRINTED).read_text()
    left = list_journals(pytester.path)
    entries = read_journal(left[0]).entries if left and left[0].stat().st_size else {}
    assert set(finished) <= set(entries)

    measured = []
    measure_round = Case.measure_round
    monkeypatch.setattr(
        Case, "measure_round", lambda case: measured.append(case.kind) or measure_round(case)
    )
    script.seconds = {1: 7.0, 2: 9.0}  # what is measured now takes another time
    again = bench("--sd-resume") if entries else bench()
    assert again.ret == 0, again.stdout.str()
    document = last_run(pytester)
    assert len(document["sdperf"]["outcomes"]) == 4
    assert set(document["sdperf"]["earlier"]) == set(entries)
    for benchmark in document["benchmarks"]:
        name = benchmark["fullname"]
        kind = benchmark["extra_info"]["sdperf"]["kind"]
        if name in entries:
            assert benchmark["stats"]["data"] == entries[name].record["rounds_s"]
            assert kind not in measured
        else:
            assert measured.count(kind) == 2
    images = pytester.path / ".sdperf/images"
    for benchmark in document["benchmarks"]:
        for image in benchmark["extra_info"]["sdperf"]["images"]:
            assert (images / f"{image['sha256']}.png").exists()
    assert list_journals(pytester.path) == []
