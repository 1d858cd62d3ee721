import pytest

from sdperf.errors import RecordError
from sdperf.judging.doubts.processes import judge_processes
from sdperf.record.verdict import Outcome
from tests.support.measurements import measurement


def test_two_speeds_are_named_with_their_shares():
    rounds_s = (1.0, 1.1, 2.0, 2.1, 1.0, 1.1, 1.05, 1.06)
    finding = judge_processes(measurement(rounds_s=rounds_s, processes=4))
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.reason == "25% of 4 processes run 1.95x slower: 2.05 s against 1.05 s a round"


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_that_agree_say_nothing(processes):
    assert judge_processes(measurement(rounds_s=(1.0, 1.1, 1.0, 1.1), processes=processes)) is None


@pytest.mark.parametrize("processes", [0, 3])
def test_rounds_are_divided_evenly(processes):
    with pytest.raises(RecordError, match="divided evenly"):
        measurement(rounds_s=(1.0, 1.1), processes=processes)
