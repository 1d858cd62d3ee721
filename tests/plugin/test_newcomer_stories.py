"""What a newcomer meets first: faults of a whole session, and what other plugins bring along."""


def count_lines(result, text):
    return sum(text in line for line in result.outlines)


def test_a_fault_that_all_cases_have_in_common_is_said_once(bench, pytester):
    broken = bench(subject="nowhere:make")
    assert broken.ret == 1
    broken.assert_outcomes(failed=2)
    assert count_lines(broken, "do: python -c 'import nowhere'") == 1
    assert count_lines(broken, "as in test_bench.py::test_latency[fp32-sync-1w]") == 1
    assert count_lines(broken, "BROKEN  latency") == 1
    broken.stdout.fnmatch_lines(["BROKEN  latency*, throughput*: ConfigurationError: *"])
