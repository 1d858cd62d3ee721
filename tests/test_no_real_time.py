"""No test asserts on real time: neither by a clock of its own nor by a limit that a tool sets."""

import ast
from pathlib import Path

from hypothesis import settings

CLOCKS = {"monotonic", "perf_counter", "monotonic_ns", "perf_counter_ns", "process_time"}
TESTS = Path(__file__).parent


def find_compared_clocks(source):
    """Return the lines of asserts that compare a reading of a real clock with a constant."""
    if not any(clock in source for clock in CLOCKS):  # most files, which need no parser
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert)
        and any(
            isinstance(one, ast.Call) and getattr(one.func, "attr", "") in CLOCKS
            for one in ast.walk(node)
        )
    ]


def test_no_example_of_a_property_has_a_time_limit():
    assert settings.default.deadline is None
    for path in TESTS.rglob("*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source)) if "deadline" in source else ():
            if isinstance(node, ast.keyword) and node.arg == "deadline":
                assert ast.unparse(node.value) == "None", path


def test_no_assert_reads_a_real_clock():
    for path in TESTS.rglob("*.py"):
        assert not find_compared_clocks(path.read_text("utf-8")), path
    assert find_compared_clocks("assert time.monotonic() - began_s < 25") == [1]
    assert find_compared_clocks("assert measured_s < 25") == []
