import dataclasses
import itertools

import pytest

from evidence.ab_evidence.__main__ import extend, make_sides
from evidence.ab_evidence.series import format_series, read_series, summarise
from evidence.ab_evidence.subjects import EVERY_CALLS, EXTRA_CALLS, repeat_calls
from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.turns.comparing import compare
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.errors import RecordError
from tests.support.ab_fakes import FakeBench, side

CASES = (MatrixCase(),)


def record(b=1.0, second=None):
    bench = FakeBench({"seconds": 1.0}, {"seconds": b})
    bench.second_a = second
    done = compare(side("a"), side("b"), CASES, CompareOptions(guards="off"), bench=bench).record
    packages = {"torch": "2.13.0", "diffusers": "0.42.1"}
    environment = dataclasses.replace(done.environment, packages=packages)
    return dataclasses.replace(done, environment=environment)


def test_the_extra_work_is_exactly_one_call_in_eleven():
    calls = []
    forward = repeat_calls(
        lambda *arguments: calls.append(arguments) or len(calls), EXTRA_CALLS, EVERY_CALLS
    )
    for image in range(1, 6):
        results = [forward(step) for step in range(EVERY_CALLS)]
        assert len(calls) == image * (EVERY_CALLS + EXTRA_CALLS)
        assert len(results) == EVERY_CALLS
    repeated = [one for one, after in itertools.pairwise(calls) if one == after]
    assert len(repeated) == 5 * EXTRA_CALLS


def test_sides_differ_in_their_subject_only():
    for experiment, differs in (("aa", False), ("slower", True)):
        a, b = make_sides(experiment)
        assert (a.subject != b.subject) is differs
        assert a.workload == b.workload


def test_runs_are_kept_one_by_one_and_gone_on_with(tmp_path):
    path = tmp_path / "results.json"
    made = iter([record(), record(), KeyboardInterrupt()])

    def measure(experiment):
        one = next(made)
        if isinstance(one, BaseException):
            raise one
        return one

    with pytest.raises(KeyboardInterrupt):
        extend(path, "aa", 4, measure)
    assert len(read_series(path)["aa"].runs) == 2
    assert len(extend(path, "aa", 3, lambda _: record()).runs) == 3
    assert len(extend(path, "aa", 3, measure).runs) == 3
    extend(path, "slower", 2, lambda _: record(1.07))
    assert {name: len(one.runs) for name, one in read_series(path).items()} == {
        "aa": 3,
        "slower": 2,
    }


def test_an_interrupted_run_is_not_counted(tmp_path):
    interrupted = dataclasses.replace(record(), was_interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        extend(tmp_path / "results.json", "aa", 1, lambda _: interrupted)
    assert not (tmp_path / "results.json").exists()


def test_the_table_counts_what_was_found(tmp_path):
    path = tmp_path / "results.json"
    extend(path, "aa", 1, lambda _: record())
    extend(path, "aa", 2, lambda _: record(second={"seconds": 1.3}))
    series = extend(path, "slower", 2, lambda _: record(1.07))
    assert summarise(series) == (
        "2 runs of 11 steps: 2 SLOWER. Blocks it took: 4 in 2 runs. Denoising is 80.0 % of an "
        "image, so that 9.1 % more calls of the UNet are at most 7.3 % more time."
    )
    text = format_series(read_series(path))
    assert (
        "2 runs of 5 steps: 1 PASS, 1 VOID. Blocks it took: 4 in 1 run. In 0 of them the interval"
        in text
    )
    assert "| 1 | SLOWER | 4 | 0 | +7.0 % | +5.8 % to +8.2 % | +0.0 % | " in text


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{")
    with pytest.raises(RecordError):
        read_series(path)
