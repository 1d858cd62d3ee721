"""What a comparison had finished survives it, and counts only where nothing differs."""

import dataclasses
import json

import pytest

from sdperf.ab.keeping import FOLDER, FileKeeper, read_kept
from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.errors import ConfigurationError, RecordError
from sdperf.record.workload import Variant
from tests.support.ab_fakes import FakeBench, side

CASES = tuple(MatrixCase(variant=Variant(mode=mode)) for mode in ("sync", "async"))
OPTIONS = CompareOptions(guards="off")


class Killed(BaseException):
    """Nothing catches it: as a kill, as far as a process can tell itself."""


class DyingBench(FakeBench):
    """A bench whose process is killed when it makes so many arms."""

    arms_left = 10**9

    def make_arm(self, *arguments, **named):
        self.arms_left -= 1
        if self.arms_left < 0:
            raise Killed
        return super().make_arm(*arguments, **named)


@pytest.fixture
def told():
    return []


@pytest.fixture
def run(tmp_path, told):
    def run(*, resume=False, arms=10**9, code="c" * 64, options=OPTIONS, cases=CASES, b="b"):
        bench = DyingBench({"seconds": 1.0}, {"seconds": 1.0})
        bench.arms_left = arms
        keeper = FileKeeper(tmp_path, code, resume=resume, tell=told.append)
        compared = compare(side("a"), side(b), cases, options, bench=bench, keeper=keeper)
        return compared, bench, keeper

    return run


@pytest.fixture
def killed(run):
    """A run that was killed in its second case."""
    with pytest.raises(Killed):
        run(arms=3)  # two sides, and A once more for the null control
    return run


def count_arms(bench):
    return 10**9 - bench.arms_left


def test_a_killed_comparison_goes_on_with_what_it_had_finished(killed, told):
    compared, bench, keeper = killed(resume=True)
    record = compared.record
    assert [case.case for case in record.cases] == list(CASES)
    assert count_arms(bench) == 3  # of the second case alone
    assert record.notes[0].startswith("measured by an earlier process of this comparison, ")
    assert record.notes[0].endswith(" and was interrupted: 1 of 2 cases")
    assert told[0].startswith("kept 1 of 2 cases of the run that began ")
    assert judge_comparison(record).outcome.value == "PASS"
    hashes = {
        one.sha256
        for case in record.cases
        for pair in case.images
        for one in pair.__dict__.values()
    }
    assert hashes <= set(compared.pngs)
    keeper.close()
    with pytest.raises(ConfigurationError, match="no interrupted run of this comparison"):
        killed(resume=True)


def test_when_all_was_finished_the_earlier_null_control_stands(run):
    run()
    compared, bench, _ = run(resume=True)
    assert count_arms(bench) == 0
    assert compared.record.control


def test_nothing_is_taken_unasked(killed, told):
    compared, bench, _ = killed()
    assert count_arms(bench) == 5
    assert "left 1 of 2 cases; --resume would go on with it" in told[0]
    assert not any("earlier process" in note for note in compared.record.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "d" * 64},
        {"options": dataclasses.replace(OPTIONS, max_slowdown=0.05)},
        {"cases": CASES[:1]},
        {"b": "other"},
    ],
    ids=["code", "limit", "cases", "side"],
)
def test_another_question_is_not_answered_by_it(killed, changes):
    with pytest.raises(ConfigurationError, match="no interrupted run of this comparison"):
        killed(resume=True, **changes)


def test_code_that_cannot_be_told_is_not_gone_on_with(run):
    with pytest.raises(Killed):
        run(arms=3, code=None)
    with pytest.raises(ConfigurationError, match="whether the code has changed since"):
        run(resume=True, code=None)


def test_a_case_whose_picture_is_gone_is_measured_again(killed, tmp_path):
    for path in (tmp_path / ".sdperf/ab").glob("*/*.png"):
        path.unlink()
    _, bench, _ = killed(resume=True)
    assert count_arms(bench) == 5


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"cases": 1}'])
def test_damage_is_one_message(killed, tmp_path, damage):
    (path,) = (tmp_path / FOLDER).glob("*.json")
    path.write_bytes(damage)
    with pytest.raises(RecordError, match="is damaged"):
        killed(resume=True)


def test_another_format_is_refused(killed, tmp_path):
    (path,) = (tmp_path / FOLDER).glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(RecordError, match="another sdperf"):
        read_kept(path)


def test_a_full_disk_ends_no_comparison(run, monkeypatch, told):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sdperf.ab.keeping.write_atomically", refuse)
    compared, _, _ = run()
    assert len(compared.record.cases) == 2
    assert told == ["finished cases cannot be kept: No space left on device"]
