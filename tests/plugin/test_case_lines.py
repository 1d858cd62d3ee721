"""What a session shows while it runs: whole lines in a pipe, one live line on a terminal."""

import re
from types import SimpleNamespace

import pytest

from sdperf.plugin.case_lines import CaseLines
from sdperf.plugin.progress import LINE_WIDTH, LiveLine

OWN = "def test_one(): pass\ndef test_two(): pass\ndef test_three(): pass\n"
ENDING = """
import pytest

def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_never_begun(sd_benchmark):
    pytest.skip("not today")

def test_wrong(sd_benchmark):
    assert sd_benchmark.latency().seconds_per_image < 0
"""


def test_in_a_pipe_each_case_is_one_whole_line_and_letters_stay_together(
    bench, pytester, unwatched
):
    pytester.makepyfile(test_a=OWN, test_z=OWN)
    lines = bench().outlines
    assert "test_a.py ..." in lines
    (latency,) = (line for line in lines if line.startswith("sdperf latency[fp32-sync-1w]: "))
    assert re.fullmatch(r"sdperf .*: .*s per image, 2 rounds \(.* m?s\)", latency)
    assert sum(line.startswith("sdperf throughput[fp32-sync-1w]: ") for line in lines) == 1
    assert any(re.fullmatch(r"test_z\.py \.\.\. +\[100%\]", line) for line in lines)
    assert not any(line.startswith("test_bench.py") for line in lines)


def test_the_last_case_ends_in_pytests_hundred_per_cent(bench, unwatched):
    lines = [line for line in bench().outlines if "[100%]" in line]
    assert len(lines) == 1
    assert lines[0].startswith("sdperf throughput[fp32-sync-1w]: ")


def test_a_failed_case_is_a_line_and_one_that_was_never_begun_is_counted_only(
    bench, pytester, unwatched
):
    pytester.makepyfile(test_bench=ENDING)
    result = bench()
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    shown = [line for line in result.outlines if line.startswith("sdperf ")]
    assert [line.partition(":")[0] for line in shown] == [
        "sdperf latency[fp32-sync-1w]",
        "sdperf wrong[fp32-sync-1w]",
    ]
    result.stdout.fnmatch_lines(["3 cases: *1 skipped", "skipped: not today"])


def test_where_pytest_writes_a_line_a_test_the_figure_is_added_to_it(bench, pytester, unwatched):
    lines = bench("-v", rounds=1).outlines
    latency = [line for line in lines if line.startswith("test_bench.py::test_latency")][-1]
    assert re.fullmatch(r".*\] PASSED +\[ 50%\]  .* per image, 1 round \(.* m?s\)", latency)
    assert not any(line.startswith("sdperf latency") for line in lines)


def test_a_verdict_that_fails_a_case_is_one_line_too(bench, accept, script, pytester):
    assert bench("--benchmark-autosave").ret == 0
    script.seconds = {1: 2.0, 2: 4.0}
    slower = bench("--benchmark-compare", confirm=0)
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(["sdperf latency?fp32-sync-1w?: SLOWER"])


class Screen:
    """A terminal's rows, as far as the live line moves about on them."""

    def __init__(self):
        self.rows, self.row, self.column = [""], 0, 0

    def write(self, text):
        for piece in re.findall(r"\x1b\[2K|\x1b\[A|\r|\n|[^\r\n\x1b]+", text):
            if piece == "\r":
                self.column = 0
            elif piece == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif piece == "\x1b[2K":
                self.rows[self.row] = ""
            elif piece == "\x1b[A":
                self.row = max(0, self.row - 1)
            else:
                row = self.rows[self.row].ljust(self.column)
                end = self.column + len(piece)
                self.rows[self.row], self.column = row[: self.column] + piece + row[end:], end


class TerminalStandIn:
    """Counts a line's width as pytest's writer does: from the last line break."""

    isatty = True

    def __init__(self):
        self.screen, self.width_of_current_line, self.fullwidth = Screen(), 0, 160
        self.currentfspath = None
        manager = SimpleNamespace(get_plugin=lambda name: None)
        self.config = SimpleNamespace(pluginmanager=manager, get_terminal_writer=lambda: self)

    def write(self, text, *, flush=False, **markup):
        _, broken, tail = text.rpartition("\n")
        self.width_of_current_line = len(tail) + (0 if broken else self.width_of_current_line)
        self.screen.write(text)

    def line(self):
        self.write("\n")

    def write_line(self, text, **markup):
        self.ensure_newline()
        self.write(f"{text}\n")

    def ensure_newline(self):
        if self.currentfspath:
            self.line()
            self.currentfspath = None


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return TerminalStandIn()


def make_line(terminal, left_s=None):
    ticks = iter(range(1000))
    return LiveLine(
        terminal,
        clock=lambda: float(next(ticks)),
        place="3/12",
        left_s=lambda: left_s,
        is_reported=True,
    )


def test_on_a_terminal_one_line_is_rewritten_and_what_ended_stays_above_it(terminal):
    line = make_line(terminal, left_s=185.0)
    terminal.write("test_a.py ..")
    terminal.currentfspath = object()
    line.start("latency fp32-sync-1w", 3)
    line.round_done(0.5)
    rows = terminal.screen.rows
    assert rows == [
        "test_a.py ..",
        "3/12 latency fp32-sync-1w: round 1 of 3, 500 ms; about 3 min 05 s left",
    ]
    line.end_case("500 ms per image, 2 rounds")
    assert (rows, terminal.width_of_current_line) == (["test_a.py ..", ""], 0)
    line.show_case("latency[fp32-sync-1w]", line.take_end(), "")
    assert rows[1:] == ["sdperf latency[fp32-sync-1w]: 500 ms per image, 2 rounds (1.00 s)", ""]
    assert line.take_end() is None

    line.start("throughput fp32-sync-1w", 3)
    assert rows[2].startswith("3/12 throughput fp32-sync-1w: starting")


def test_before_a_case_is_done_the_line_counts_what_is_left_of_this_one(terminal):
    line = make_line(terminal)
    line.start("latency fp32-sync-1w", 3)
    line.round_done(0.5)
    assert terminal.screen.rows[-1].endswith("round 1 of 3, 500 ms; about 1.00 s left in this case")
    line.round_done(0.5)
    line.round_done(0.5)
    assert terminal.screen.rows[-1].endswith("round 3 of 3, 500 ms")


def test_a_warm_up_is_no_round_of_a_case(terminal):
    line = make_line(terminal)
    line.start("latency fp32-sync-1w", 2, 1)
    line.round_done(0.5)
    left = "about 1.00 s left in this case"
    assert terminal.screen.rows[-1].endswith(f": warm-up 1 of 1, 500 ms; {left}")
    line.round_done(0.5)
    left = "about 500 ms left in this case"
    assert terminal.screen.rows[-1].endswith(f": round 1 of 2, 500 ms; {left}")
    line.round_done(0.5)
    assert terminal.screen.rows[-1].endswith(": round 2 of 2, 500 ms")


def test_a_long_name_is_cut_in_its_middle_so_that_the_time_left_is_seen(terminal):
    line = make_line(terminal, left_s=185.0)
    line.start(f"latency {'very-' * 30}long", 3)
    line.round_done(0.5)
    shown = terminal.screen.rows[-1]
    assert len(shown) < LINE_WIDTH
    assert re.search(r"latency .*\.\.\..*long: round 1 of 3.* left$", shown)


def test_no_line_is_wider_than_a_narrow_terminal(terminal):
    terminal.fullwidth = 64
    line = make_line(terminal, left_s=185.0)
    line.start(f"latency {'very-' * 30}long", 3)
    line.round_done(0.5)
    shown = terminal.screen.rows[-1]
    assert len(shown) < 64
    assert re.search(r"\.\.\..*: round 1 of 3, 500 ms; about 3 min 05 s l", shown)


def test_what_pytest_has_written_of_a_test_comes_back_when_the_live_line_goes(terminal):
    line = make_line(terminal)
    terminal.write("collected 1 item\n")
    terminal.currentfspath = "test_bench.py::test_latency[fp32-sync-1w] "
    terminal.write(terminal.currentfspath)
    line.start("latency fp32-sync-1w", 3)
    assert terminal.screen.rows[1:] == ["3/12 latency fp32-sync-1w: starting"]
    line.end_case("done")
    assert terminal.screen.rows[1:] == ["test_bench.py::test_latency[fp32-sync-1w] "]
    assert terminal.width_of_current_line == len(terminal.currentfspath)


def test_no_two_cases_have_the_same_line():
    shown, ids = [], ["b/one.py::test_speed[1w]", "b/two.py::test_speed[1w]"]
    line = LiveLine(None)
    line.show_case = lambda name, *_arguments, **_named: shown.append(name)
    lines = CaseLines(line, SimpleNamespace(showlongtestinfo=False), ids, ids[-1])
    for node_id in ids:
        lines.pytest_runtest_logreport(
            pytest.TestReport(node_id, ("", 0, ""), {}, "failed", None, "call")
        )
    assert shown == ["one.py::test_speed[1w]", "two.py::test_speed[1w]"]


def test_a_result_of_an_earlier_process_took_no_time():
    line = LiveLine(None)
    line.is_reported = True
    line.end_case("kept: 163 ms per image", took=False)
    assert line.take_end() == "kept: 163 ms per image"
