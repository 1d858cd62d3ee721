import io
import math

from sdperf.ab.turns.view import Progress
from sdperf.cli.ab.view import TerminalView, draw_interval, format_progress
from sdperf.stats.paired import YuenBounds


def at(mean, lower, upper):
    return YuenBounds(mean, lower, upper, 0.01, 3)


LIMIT = math.log(1.03)


def test_the_ruler_shows_interval_limit_and_no_difference():
    assert draw_interval(at(-0.05, -0.08, -0.02), LIMIT) == "-10% ..[==*==].|..!....... +10%"
    assert draw_interval(at(0.0, -0.001, 0.001), LIMIT) == "-5% ..........*.....!.... +5%"
    assert draw_interval(at(0.9, -9.0, 9.0), LIMIT).startswith("-100% [")


def progress(**changes):
    fields = {
        "what": "latency",
        "blocks": 4,
        "most": 12,
        "is_look": True,
        "bounds": at(math.log(0.9), math.log(0.88), math.log(0.92)),
        "discarded": None,
        "elapsed_s": 10.0,
        "left_s": 42.0,
    }
    return Progress(**fields | changes)


def test_progress_is_told_in_a_line():
    told = format_progress(progress(), LIMIT, ruler=False)
    assert told == ("latency: 4 of at most 12 blocks, -10.0 % (-12.0 to -8.0), 42.0 s at most")
    assert "-20% " in format_progress(progress(), LIMIT)
    levelled = format_progress(progress(what="null control", level=0.98), LIMIT, ruler=False)
    assert "blocks, -10.0 % (-12.0 to -8.0 at 98 %), " in levelled
    lost = format_progress(progress(discarded="it got hot"), LIMIT, ruler=False)
    assert lost == "latency: 4 of at most 12 blocks, the last one discarded: it got hot"
    assert format_progress(progress(bounds=None, left_s=0.0), LIMIT) == "latency: 4/12 blocks"


def test_a_long_name_gives_way_to_the_figures_on_a_terminal():
    told = format_progress(progress(what="throughput[fp32-sync-1w | bf16-async-12w]" * 2), LIMIT)
    assert len(told) < 100
    assert "...: 4/12 blocks" in told
    assert told.endswith("-10.0 % (-12.0 to -8.0)  42.0 s")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_one_line_rewritten_and_wiped(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    view = TerminalView(Terminal(), LIMIT)
    view.announce("loading " * 30)
    view.show(progress(is_look=False))
    view.finish()
    view.finish()
    text = view.stream.getvalue()
    assert "\n" not in text
    assert text.count("\r\x1b[2K") == 3
    assert max(len(part) for part in text.split("\r\x1b[2K")) < 100


def test_elsewhere_only_looks_and_discards_make_lines(monkeypatch):
    view = TerminalView(io.StringIO(), LIMIT)
    view.announce("loading")
    view.show(progress(is_look=False, blocks=3))
    view.show(progress())
    view.show(progress(is_look=False, discarded="hot"))
    view.finish()
    lines = view.stream.getvalue().splitlines()
    assert lines[0] == "sdperf ab: loading"
    assert len(lines) == 3
    view.show(progress(is_look=False, blocks=1, bounds=None, what="throughput[fp32] " * 8))
    told = view.stream.getvalue().splitlines()[3:]
    assert " ".join(told).endswith("1 of at most 12 blocks, 42.0 s at most")
    assert max(map(len, told)) <= 100
    monkeypatch.setenv("TERM", "dumb")
    assert not TerminalView(Terminal(), LIMIT).is_live
