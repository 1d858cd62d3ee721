"""Whoever judges a run says the same of it: the session, compare, the report and its replay."""

import dataclasses
import json
import math
import random
from pathlib import Path

import pytest

from sdperf.judging.exactness import GATE as EXACTNESS
from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.session.comparison import ComparedSession, Comparison
from sdperf.judging.session.failing import explain_nothing_compared
from sdperf.judging.session.gate import Gate
from sdperf.judging.session.judge import judge_session
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.recorded import RECORDED_GATES
from sdperf.judging.session.saved import compare_sessions
from sdperf.record.measurement import MemoryUsage, Start
from sdperf.record.verdict import Verdict
from sdperf.report.html.raw_data import ELEMENT_ID, pack_machines, read_report
from sdperf.run.case import CaseResult
from sdperf.store.images import ImageStore
from sdperf.store.runs import parse_run
from tests.support.measurements import WORKLOAD, image, measurement
from tests.support.saved_runs import draw, make_benchmark

RUNS = 100
NUMBERS = RECORDED_GATES | {"latency", "memory", "plausibility", "work", "imprint", EXACTNESS}
"""Gates whose answers follow from numbers: the session's pictures are no part of a file."""

GIB = 2**30
CASES = tuple(f"benchmarks/test_latency.py::test_{name}" for name in ("a", "b", "c"))


def make_case(name, sha256, chance, *, factor=1.0, heavier=1.0, load_s=1.0, steps=20, tail=0.0):
    base = 1.0 + CASES.index(name)
    rounds_s = [base * factor * math.exp(chance.gauss(0, 0.01)) for _ in range(9)]
    rounds_s[-1] *= 1 + tail
    return measurement(
        rounds_s=tuple(rounds_s),
        images=(image(sha256=sha256, scores=()),),
        workload=dataclasses.replace(WORKLOAD, num_inference_steps=steps),
        memory=MemoryUsage(peak_rss_bytes=int(GIB * heavier)),
        load_s=load_s,
        first_call_s=1.0,
        start=Start(True, "warm"),
    )


def make_document(sha256, chance, *, is_head):
    """Make a run; what may be wrong with one is drawn by lot."""
    benchmarks = []
    outcomes = {}
    odd_steps = is_head and chance.random() < 0.1
    for name in CASES:
        if chance.random() < 0.08:
            continue
        plain = chance.random() < 0.5 or not is_head
        measured = make_case(
            name,
            sha256,
            chance,
            factor=1.0 if plain else chance.choice((0.7, 1.0, 1.1, 1.6)),
            heavier=1.0 if plain else chance.choice((1.0, 1.5)),
            load_s=1.0 if plain else chance.choice((1.0, 9.0)),
            tail=0.0 if plain else chance.choice((0.0, 2.0)),
            steps=40 if odd_steps else chance.choice((20,) * 15 + (30,)),
        )
        outcomes[name] = "PASS" if is_head else chance.choice(("PASS",) * 9 + ("SLOWER",))
        benchmarks.append(make_benchmark(name, measured, outcomes[name]))
    document = {
        "machine_info": {"machine": "x86_64", "cpu": {}},
        "benchmarks": benchmarks,
        "datetime": "2026-11-23T00:00:00+00:00",
        "sdperf": {"format_version": 1, "outcomes": outcomes},
    }
    if not is_head and chance.random() < 0.3:
        document["sdperf_accepted"] = {
            "reason": "well",
            "accepted_at": "2026-11-23T00:00:00+00:00",
            "commit": None,
            "content_sha256": "0" * 64,
            "level_changed": [name for name in CASES if chance.random() < 0.2],
        }
    return json.loads(json.dumps(document))


def judge_as_session(bases, head, store, png):
    """Judge as a session does that measures nothing again."""
    sessions = [
        ComparedSession(one.path.name, one.cases, store, one.level_changed, one.is_accepted)
        for one in bases
    ]
    gate = Gate(Comparison(is_asked=True, sessions=tuple(sessions)), None, MemoryLimits())
    sha256 = next(iter(head.cases.values())).measurement.images[0].sha256
    judged = {
        name: gate.judge(name, CaseResult(case.measurement, {sha256: png}))
        for name, case in head.cases.items()
    }
    numbers = judge_session({name: one.held for name, one in judged.items()}, Limits())
    said = {}
    for name, one in judged.items():
        latency = [numbers.speed.cases[name]] if one.held.has_history else []
        said[name] = [*latency, *one.findings, *numbers.recorded[name]]
    verdicts = [Verdict(name, tuple(one)) for name, one in said.items()]
    nothing = explain_nothing_compared(verdicts, [one.source for one in sessions])
    return said, numbers.speed.suite, nothing


def numbers(findings):
    return sorted((one.gate, one.outcome.value) for one in findings if one.gate in NUMBERS)


def of_cases(cases, head):
    return {
        one.verdict.case: numbers(one.verdict.findings)
        for one in cases
        if one.verdict.case in head.cases
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Bases and head of each generated comparison, and what belongs to their pictures."""
    png, chance = draw(), random.Random(23)
    store = ImageStore(tmp_path_factory.mktemp("images"))
    sha256 = store.write(png)
    found = []
    while len(found) < RUNS:
        bases = [make_document(sha256, chance, is_head=False) for _ in range(chance.randint(1, 7))]
        head = make_document(sha256, chance, is_head=True)
        names = {one["fullname"] for base in bases for one in base["benchmarks"]}
        if any(one["fullname"] in names for one in head["benchmarks"]):
            found.append((bases, head))
    return found, store, png


def test_every_caller_says_the_same_of_a_run(runs, tmp_path):
    found, store, png = runs
    seen, machines, told, silent = set(), [], [], 0
    for bases, head in found:
        named = [(f"{number}.json", one) for number, one in enumerate((*bases, head))]
        *read_bases, read_head = (
            parse_run(Path(name), one, needs_rounds=True) for name, one in named
        )
        compared = compare_sessions(read_bases, read_head)
        said = of_cases(compared.cases, read_head)
        machine = judge_machine([parse_reported_run(name, one) for name, one in named], Limits())
        assert of_cases(machine.cases, read_head) == said
        assert machine.suite == compared.suite
        assert machine.nothing_compared == compared.nothing_compared
        assert machine.is_failed() == compared.is_failed()
        assert machine.is_failed() or compared.nothing_compared is None
        live, suite, nothing = judge_as_session(read_bases, read_head, store, png)
        assert nothing == compared.nothing_compared
        silent += nothing is not None
        assert {name: numbers(one) for name, one in live.items()} == said
        assert suite == compared.suite
        seen |= {pair for one in said.values() for pair in one}
        machines.append(machine)
        told.append(said)
    assert 0 < silent < RUNS / 2
    page = tmp_path / "report.html"
    packed = pack_machines(machines)
    page.write_text(f'<script id="{ELEMENT_ID}" type="application/json">{packed}</script>')
    for machine, (again, outcomes), said in zip(machines, read_report(page), told, strict=True):
        assert again.cases == machine.cases
        assert outcomes == {one.name: one.verdict.outcome.value for one in machine.cases}
        assert of_cases(again.cases, again.head.run) == said
    wanted = {("latency", one) for one in ("PASS", "SLOWER", "INCONCLUSIVE", "INCOMPARABLE")}
    assert wanted | {("memory", "HEAVIER"), ("load", "SLOWER")} <= seen, seen
