import argparse
import json
import subprocess
import sys

import pytest

from sdperf.cli.runs import compare
from sdperf.errors import ConfigurationError, RecordError


def run(*arguments):
    parser = argparse.ArgumentParser()
    compare.add_parser(parser.add_subparsers())
    return compare.run(parser.parse_args(["compare", *map(str, arguments)]))


@pytest.fixture
def runs(tmp_path):
    """Six saved runs of 60 cases; in the last, case 7 takes 40 % longer."""
    paths = []
    for number in range(6):
        benchmarks = [
            {
                "fullname": f"test_{case}",
                "stats": {
                    "data": [
                        (1 + case / 10)
                        * (1 + 0.002 * ((number * 7 + case * 3 + k) % 5))
                        * (1.4 if number == 5 and case == 7 else 1.0)
                        for k in range(5)
                    ]
                },
            }
            for case in range(60)
        ]
        path = tmp_path / f"run{number}.json"
        path.write_text(json.dumps({"benchmarks": benchmarks}))
        paths.append(path)
    return paths


LONG = "benchmarks/test_optimisations.py::test_speedup[loop_graph+stored_png-fp16-sync-1w]"
OTHER = "benchmarks/test_latency.py::test_latency[fp16-sync-1w]"
SAME = "benchmarks/old/test_optimisations.py::test_speedup[loop_graph+stored_png-fp16-sync-1w]"


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([LONG, OTHER], ["speedup[loop_graph+stored_png-fp16-sync-1w]", "latency[fp16-sync-1w]"]),
        ([OTHER[-40:]], [OTHER[-40:]]),
        ([LONG, SAME], None),
        (
            [LONG, OTHER, OTHER.replace("latency.py", "other.py")],
            [
                "speedup[loop_graph+stored_png-fp16-sync-1w]",
                "test_latency.py::test_latency[fp16-sync-1w]",
                "test_other.py::test_latency[fp16-sync-1w]",
            ],
        ),
    ],
)
def test_ids_are_whole_in_the_table_or_cut_where_they_differ(tmp_path, capsys, ids, names):
    path = tmp_path / "run.json"
    cases = [{"fullname": name, "stats": {"data": [1.0, 1.01]}} for name in ids]
    path.write_text(json.dumps({"benchmarks": cases}))
    run(path, path)
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2 : 2 + len(ids)]]
    assert len(set(shown)) == len(ids)
    assert shown == names or (names is None and all("..." in one for one in shown))
    run(path, path, "--format", "markdown")
    shown = capsys.readouterr().out
    assert all(f"| `{name}` |" in shown for name in ids)


def test_a_regression_is_exit_status_1(runs, capsys):
    assert run(*runs) == 1
    assert "SLOWER  test_7:" in capsys.readouterr().out


def test_no_regression_is_exit_status_0(runs, capsys):
    assert run(*runs[:-1]) == 0
    assert "60 PASS" in capsys.readouterr().out


def test_too_few_sessions_are_open_only_when_strict(runs):
    assert run(runs[0], runs[1]) == 0
    assert run(runs[0], runs[5], "--gross-slowdown", "50%") == 0
    assert run(runs[0], runs[5], "--gross-slowdown", "50%", "--strict") == 1


def test_json_and_markdown(runs, capsys):
    run(*runs, "--format", "json")
    assert json.loads(capsys.readouterr().out)["cases"][7]["outcome"] == "SLOWER"
    run(*runs, "--format", "markdown")
    assert "| **SLOWER**" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "coloured"),
    [(True, "", True), (True, "1", False), (False, "", False)],
)
def test_only_a_terminal_gets_colours(runs, capsys, monkeypatch, is_terminal, no_color, coloured):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    run(*runs)
    assert ("\x1b[31m" in capsys.readouterr().out) is coloured


def test_one_file_is_not_enough(runs):
    with pytest.raises(ConfigurationError, match="nothing to compare with"):
        run(runs[0])


def test_a_hostile_file_is_one_message(runs):
    runs[2].write_text('{"benchmarks": [')
    with pytest.raises(RecordError, match=r"run2\.json"):
        run(*runs)


def test_no_torch_is_loaded(runs):
    script = (
        "import sys, argparse; from sdperf.cli.runs import compare; p = argparse.ArgumentParser(); "
        "compare.add_parser(p.add_subparsers()); "
        f"compare.run(p.parse_args(['compare', {str(runs[0])!r}, {str(runs[1])!r}])); "
        "sys.exit('torch' in sys.modules or 'skimage' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
