"""A run is judged alike by the session that measured it and by all that read it again."""

import json
from pathlib import Path

import pytest

from sdperf.cli import main
from sdperf.cli.runs.report import load_machines
from sdperf.report.html.raw_data import ELEMENT_ID, pack_machines, read_report
from tests.support.stories import accept_sessions

CASE = "test_bench.py::test_latency[fp32-sync-1w]"
SUBJECTS = """
def subject(request):
    pipeline = request.load()
    call = type(pipeline).__call__
    class Own(type(pipeline)):
        def __call__(self, *arguments, **named):
            made = call(self, *arguments, **named)
            made.images[0][:PIXELS, :PIXELS] += 0.02 * PIXELS
            return made
    pipeline.__class__ = Own
    return pipeline
"""


def write_subject(pytester, *, pixels=0):
    pytester.makepyfile(subjects=f"PIXELS = {pixels}\n" + SUBJECTS)


def slow_load(hosts, pytester):
    hosts.load_s = lambda _: 12.0


def one_slow_load(hosts, pytester):
    before = hosts.hosts
    hosts.load_s = lambda number: 12.0 if number == before + 1 else 1.0


def slow_first_call(hosts, pytester):
    hosts.first_factor = 13.0


def tail(hosts, pytester):
    hosts.drift = lambda number: 2.0 if number % 10 == 0 else 1.0


def slower(hosts, pytester):
    hosts.seconds[1] = 1.4


def leak(hosts, pytester):
    hosts.resident_bytes = lambda number: 2**30 + number * 2**20


def other_bytes(hosts, pytester):
    write_subject(pytester, pixels=1)


def other_picture(hosts, pytester):
    write_subject(pytester, pixels=32)


def nothing(hosts, pytester):
    pass


def read_outcomes(document):
    return {one["case"]: one["outcome"] for one in document["cases"]}


def read_everywhere(pytester, capsys):
    """Return what the session said of the last run, and what all say that read it again."""
    (base,) = (pytester.path / "benchmarks/baselines").glob("*/0001*.json")
    head = pytester.path / ".sdperf/last-run.json"
    outcomes = {"session": json.loads(head.read_text())["sdperf"]["outcomes"]}
    capsys.readouterr()
    main(["compare", str(base), str(head), "--format", "json"])
    outcomes["compare"] = read_outcomes(json.loads(capsys.readouterr().out))
    machines, _ = load_machines([base, head], Path("none"))
    page = pytester.path / "page.html"
    page.write_text(f'<script id="{ELEMENT_ID}">{pack_machines(machines)}</script>')
    pages = {"report": page, "--sd-html": pytester.path / "own.html"}
    for name, path in pages.items():
        if path.exists():
            ((machine, said),) = read_report(path)
            outcomes[name] = said
            outcomes[f"replay of {name}"] = {
                one.name: one.verdict.outcome.value for one in machine.cases
            }
    return outcomes


@pytest.mark.parametrize(
    ("damage", "expected", "options"),
    [
        (nothing, "PASS", ()),
        pytest.param(slow_load, "SLOWER", (), marks=pytest.mark.long),
        pytest.param(one_slow_load, "PASS", (), marks=pytest.mark.long),
        pytest.param(slow_first_call, "SLOWER", (), marks=pytest.mark.long),
        pytest.param(tail, "SLOWER", ("--sd-rounds=20",), marks=pytest.mark.long),
        pytest.param(leak, "HEAVIER", ("--sd-rounds=60",), marks=pytest.mark.long),
        (slower, "SLOWER", ("--sd-confirm=0", "--sd-html=own.html")),
        (other_bytes, "CHANGED", ("--sd-confirm=0",)),
        (other_picture, "DEGRADED", ("--sd-confirm=0",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_is_judged_alike_wherever_it_is_read(
    bench, hosts, accept, pytester, capsys, damage, expected, options
):
    hosts.load_s = lambda _: 1.0
    write_subject(pytester)

    def run(*arguments):
        return bench(
            "-k", "latency", *options, *arguments, spawned=True, subject="subjects:subject"
        )

    accept_sessions(pytester, run, accept, count=1)
    damage(hosts, pytester)
    run("--benchmark-compare")
    outcomes = read_everywhere(pytester, capsys)
    assert outcomes == {reader: {CASE: expected} for reader in outcomes}


def test_a_case_that_died_is_broken_wherever_the_run_is_read(
    bench, hosts, accept, pytester, capsys
):
    test = "import pytest\n\n@pytest.mark.sd_matrix()\ndef test_{}(sd_benchmark):\n    {}\n"
    alive, dead = "sd_benchmark.latency()", "raise RuntimeError('gone')"

    def write(other):
        pytester.makepyfile(test_bench=test.format("one", alive) + test.format("other", other))

    def run():
        return bench("--benchmark-compare", spawned=True, confirm=0)

    write(alive)
    accept_sessions(pytester, run, accept, count=1)
    write(dead)
    assert run().ret == 1
    outcomes = read_everywhere(pytester, capsys)
    expected = {"test_bench.py::test_one": "PASS", "test_bench.py::test_other": "BROKEN"}
    assert outcomes == dict.fromkeys(outcomes, expected)
