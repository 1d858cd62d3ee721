import pytest

from sdperf.ab.sides.matrix import list_matrix, parse_cases
from sdperf.ab.sides.sides import describe_case
from sdperf.errors import ConfigurationError
from sdperf.record.workload import Variant


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("latency", ["latency[fp32-sync-1w]"]),
        (
            "stage",
            [f"stage[fp32-{s}]" for s in ("encode_prompt", "denoise", "decode_latents", "deliver")],
        ),
        ("stage[*-denoise]", [f"stage[{p}-denoise]" for p in ("fp32", "fp16", "bf16")]),
        (
            "throughput[fp16-*-2w]",
            ["throughput[fp16-sync-2w]", "throughput[fp16-async-2w]"],
        ),
        ("latency[bf16-sync-3w]", ["latency[bf16-sync-3w]"]),
        ("latency[fp32-*-2w-12t]", ["latency[fp32-sync-2w-12t]", "latency[fp32-async-2w-12t]"]),
        ("latency, latency[fp32-sync-1w] ,", ["latency[fp32-sync-1w]"]),
    ],
)
def test_cases_are_named_as_in_a_run(text, ids):
    assert [case.id for case in parse_cases(text)] == ids


def test_the_matrix_is_that_of_the_benchmarks():
    cases = list_matrix(batch=6)
    assert len(cases) == len({case.id for case in cases}) == 2 * 3 * 2 * 3 + 3 * 4
    assert {case.batch for case in cases if case.kind == "throughput"} == {6}
    assert {case.batch for case in cases if case.kind != "throughput"} == {1}


@pytest.mark.parametrize("text", ["", ",", "speed", "latency[fp8-sync-1w]", "stage[fp32-x]"])
def test_what_is_no_case_is_refused(text):
    with pytest.raises(ConfigurationError, match="case"):
        parse_cases(text)


def test_a_case_is_named_by_how_the_sides_run_it():
    (case,) = parse_cases("latency")
    assert describe_case(case, Variant(), Variant()) == "latency[fp32-sync-1w]"
    changed = describe_case(case, Variant("fp16"), Variant("fp16", "async"))
    assert changed == "latency[fp16-sync-1w | fp16-async-1w]"
