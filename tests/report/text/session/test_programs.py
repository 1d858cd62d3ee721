"""What is said of programs of the user's: who they are, and both figures of a round."""

import pytest

from sdperf.errors import RecordError
from sdperf.judging.doubts.comparable import explain_difference
from sdperf.record.measurement import EngineUse
from sdperf.record.workload import ProgramFacts, Variant
from sdperf.report.text.session.cases import Row
from sdperf.report.text.session.programs import format_programs
from sdperf.report.text.wrapping import WIDTH
from tests.support.measurements import measurement

FACTS = ProgramFacts(
    "mflux", "0.24.0", "z-image", "mps", "Apple M4", versions={"mlx": "0.32.2"}, precision="q8"
)


def drawn_by(command="/a/python x.py", **changes):
    engine = f"external:mflux={command}"
    fields = {
        "engine": EngineUse(engine, "0.24.0", "mps Apple M4", program=FACTS),
        "variant": Variant(engine=engine),
        "rounds_s": (1.0, 1.2, 1.1),
        "rounds_own_s": (0.9, 1.1, 1.0),
    }
    return measurement(**(fields | changes))


def lines(*measured):
    rows = [Row(f"case{i}", None, one, None) for i, one in enumerate(measured)]
    return [line.text for line in format_programs(rows)]


def test_its_own_figure_stands_beside_ours():
    told = lines(measurement(), drawn_by(), drawn_by(rounds_own_s=()))
    assert told[1] == "external-mflux: mflux 0.24.0, mlx 0.32.2; z-image on mps Apple M4"
    assert told[2].split() == ["case", "ours", "its", "own", "difference"]
    assert told[3].split() == ["case1", "1.10", "s", "1.00", "s", "+100", "ms"]
    assert told[4].split()[:3] == ["case2", "1.10", "s"]
    assert max(map(len, told)) <= WIDTH


def test_a_figure_that_is_longer_than_ours_is_told_as_such():
    assert lines(drawn_by(rounds_own_s=(1.2, 1.3, 1.2)))[3].split()[-2:] == ["-100", "ms"]


def test_without_programs_nothing_is_said():
    assert lines(measurement()) == []


def test_a_command_that_moved_is_the_same_case_and_another_program_is_not():
    assert explain_difference(drawn_by("/a/x"), drawn_by("/b/x")) is None
    other = drawn_by(variant=Variant(engine="external:other=/a/x"))
    assert "external-other" in explain_difference(drawn_by(), other).reason


def test_every_round_has_its_own_figure_or_none_has():
    with pytest.raises(RecordError, match="1 of 3 rounds"):
        drawn_by(rounds_own_s=(1.0,))
