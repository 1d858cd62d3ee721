"""A study in the terminal: the front, what decides, what was confirmed. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sdperf.report.table import Column, Marked, RowStyle, Table
from sdperf.report.text.lines import Line
from sdperf.report.text.table import format_text_table
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.tune.confirming import MOST_CANDIDATES, WinnerConfirmation
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.study.trials import TrialRecord
from sdperf.tune.summary import StudySummary
from sdperf.tune.trial.trying import Tried
from sdperf.units import UNKNOWN, format_bytes, format_quantity, format_score, format_seconds

_ENDINGS = ("complete", "pruned", "infeasible", "running", "cut off")
_MOST_SHOWN = 12
_MOST_IMPORTANCES = 5


def format_study(summary: StudySummary) -> list[Line]:
    """Lay a study out: what was asked, the front, the winner."""
    lines = [Line(head, bold=True) for head in wrap_settings(describe_study(summary), "")]
    lines += [Line(text) for text in wrap_settings(f"on {summary.machine}", "  ")]
    default = summary.question.default.describe()
    lines += [Line(text) for text in wrap_settings(f"default: {default}", "  ")]
    lines.append(Line(""))
    lines += _format_front(summary)
    starts = [line for told in describe_starts(summary) for line in wrap_settings(told, "  ")]
    lines += [Line(""), *map(Line, starts)] if starts else []
    lines += _format_importances(summary)
    lines += _format_reasons(summary)
    lines.append(Line(""))
    lines += [line for one in summary.confirmations for line in _format_confirmation(one)]
    lines += format_winner(summary)
    return lines


def describe_study(summary: StudySummary) -> str:
    """Say in a line what a study is and how far it got."""
    counts = ", ".join(
        f"{count} {ending}" for ending in _ENDINGS if (count := summary.count(ending))
    )
    ended = sum(one.tried is not None for one in summary.trials)
    return (
        f"study {summary.study}: {format_quantity(ended, 'trial')} ({counts or 'none'}), "
        f"{summary.question.describe_aim()}"
    )


def describe_winner(summary: StudySummary) -> str:
    """Say which setting won, by how much and how sure; or why no setting won."""
    winner = summary.find_winner()
    if winner is not None and winner.speedup is not None and winner.fidelity is not None:
        middle, least, most = winner.speedup
        sure = f"{100 * (1 - (winner.error or 0)):.3g} %"
        return (
            f"winner: trial {winner.number}, {middle:.2f} times as fast as the default "
            f"({least:.2f} to {most:.2f}, each end {sure} sure), SSIM "
            f"{format_score(winner.fidelity.ssim)} on fresh images: "
            f"{winner.setting.describe(summary.question.default)}"
        )
    if summary.default is None:
        return "no winner: the default was not measured yet"
    if any(one.judgement == "void" for one in summary.confirmations):
        return (
            "no winner: the machine differs from itself now; run sdperf tune again on a quiet one"
        )
    if summary.candidates:
        left = format_quantity(summary.candidates, "setting")
        return (
            f"no winner yet: {left} of the front not measured beside the default; the same command "
            f"with --confirm {MOST_CANDIDATES} measures them"
        )
    if summary.confirmations:
        return "no winner: nothing that was found beat the default on fresh measurements"
    return "no winner: no setting kept the limits and was faster than the default"


def format_winner(summary: StudySummary) -> list[Line]:
    """Lay the winner out."""
    colour = "yellow" if summary.winner is None else "green"
    return [Line(text, colour, bold=True) for text in wrap_settings(describe_winner(summary), "  ")]


def describe_tried(tried: Tried) -> str:
    """Say how the trial of a setting ended."""
    parts = [
        None if tried.seconds is None else f"{format_seconds(tried.seconds)} an image",
        None if tried.fidelity is None else f"SSIM {format_score(tried.fidelity.ssim)}",
        None if tried.reason is None else tried.reason,
    ]
    seen = ", ".join(part for part in parts if part is not None)
    missed = [name for name, violation in tried.violations.items() if violation > 0]
    if tried.state == "complete":
        return f"{seen}, misses {', '.join(missed)}" if missed else seen
    return f"{tried.state}: {seen}"


def describe_starts(summary: StudySummary) -> list[str]:
    """Say what engines cost once, and from which picture on the winner is ahead of the default."""
    told = []
    for engine in summary.question.space.engines:
        seconds: dict[str, float] = {}
        for one in summary.trials:
            tried, setting = one.tried, one.setting
            if tried is None or setting is None or setting.engine != engine:
                continue
            if tried.conversion_s is not None:
                most_s = max(tried.conversion_s, seconds.get(setting.precision, 0.0))
                seconds[setting.precision] = most_s
        each = [f"{format_seconds(one)} for {name}" for name, one in seconds.items()]
        if len(each) > 1:
            told.append(f"converting for {engine}: {' and '.join(each)}, each once")
        elif seconds:
            told.append(f"converting for {engine}: {format_seconds(*seconds.values())}, once")
    ahead = _describe_lead(summary)
    return told if ahead is None else [*told, ahead]


def _describe_lead(summary: StudySummary) -> str | None:
    """Say when the winner has made up for its start; ``None`` where that is unknown."""
    winner, first = summary.find_winner(), summary.find_default_trial()
    if winner is None or first is None or winner.seconds is None or winner.default_s is None:
        return None
    ours, theirs = (one.tried for one in (summary.find_trial(winner.number), first))
    if ours is None or theirs is None or ours.start_s is None or theirs.start_s is None:
        return None
    gain_s = winner.default_s - winner.seconds
    if gain_s <= 0:
        return None
    late_s = ours.start_s + (ours.conversion_s or 0.0) - theirs.start_s
    starts = (
        f"to the first images: {format_seconds(ours.start_s)} the winner, "
        f"{format_seconds(theirs.start_s)} the default"
    )
    if late_s <= 0:
        return f"{starts}; the winner is ahead from the first image on"
    converting = " and for converting" if ours.conversion_s is not None else ""
    images = format_quantity(math.ceil(late_s / gain_s), "image")
    left_out = _describe_left_out(summary, winner.setting, ours)
    return f"{starts}; {images} make up for that{converting}{left_out}"


def _describe_left_out(summary: StudySummary, setting: TrialSetting, tried: Tried) -> str:
    """Say which costs of a start the seconds to the first images do not have."""
    images = summary.question.images
    shares = (images // setting.workers, -(-images // setting.workers))
    left_out = [
        "a second start after converting" if tried.conversion_s is not None else None,
        "the first call with the rest of a batch"
        if any(share % setting.batch for share in shares)
        else None,
    ]
    told = " and ".join(one for one in left_out if one is not None)
    return f" (without {told})" if told else ""


def describe_memory(memory_bytes: int | None) -> str:
    """Format a peak."""
    return UNKNOWN if memory_bytes is None else format_bytes(memory_bytes)


def _format_front(summary: StudySummary) -> list[Line]:
    if not summary.front:
        return [Line("no setting was measured in full and kept every limit", "yellow")]
    lines = list(format_text_table(tabulate_front(summary, summary.front[:_MOST_SHOWN])))
    left = len(summary.front) - _MOST_SHOWN
    if left > 0:
        lines.append(Line(f"  ... and {left} more"))
    return lines


def tabulate_front(summary: StudySummary, numbers: Iterable[int]) -> Table:
    """Tabulate trials of the front; in text, their settings are below their numbers."""
    numbers = tuple(numbers)
    tries = [summary.find_trial(number).tried for number in numbers]
    has_starts = any(one is not None and one.start_s is not None for one in tries)
    rows: list[tuple[str, ...]] = []
    styles: dict[int, RowStyle] = {}
    for number in numbers:
        trial = summary.find_trial(number)
        tried, setting = trial.tried, trial.setting
        if tried is None or setting is None or tried.seconds is None or tried.fidelity is None:
            continue
        default, fidelity = summary.default, tried.fidelity
        told = setting.describe(summary.question.default)
        below = tuple(wrap_settings(told, " " * 8, first=" " * 8))
        styles[len(rows)] = RowStyle("green" if number == summary.winner else "", below)
        rows.append(
            (
                Marked(f"#{number}", str(number)),
                format_seconds(tried.seconds),
                UNKNOWN if default is None else f"x {default.seconds / tried.seconds:.2f}",
                format_score(fidelity.ssim),
                format_score(fidelity.worst_tile_ssim),
                "equal" if fidelity.psnr_db is None else f"{fidelity.psnr_db:.1f} dB",
                describe_memory(tried.memory_bytes),
                *((_format_start(tried),) if has_starts else ()),
            )
        )
    columns = (
        Column("trial", least=6),
        Column("s/image", least=9),
        Column("faster", least=8),
        Column("SSIM", least=7),
        Column("tile", least=7),
        Column("PSNR", least=8),
        Column("memory", least=9),
        *((Column("start", least=8),) if has_starts else ()),
    )
    return Table(columns, tuple(rows), styles)


def _format_start(tried: Tried) -> str:
    return UNKNOWN if tried.start_s is None else format_seconds(tried.start_s)


def _format_importances(summary: StudySummary) -> list[Line]:
    lines = []
    for name, shares in summary.importances.items():
        largest = sorted(shares.items(), key=lambda pair: -pair[1])[:_MOST_IMPORTANCES]
        told = ", ".join(f"{dimension} {share:.0%}" for dimension, share in largest)
        lines += [Line(text) for text in wrap_settings(f"what decides {name}: {told}", "  ")]
    return [Line(""), *lines] if lines else []


def _format_reasons(summary: StudySummary) -> list[Line]:
    """List the reasons of infeasible and of pruned trials, each once with its trials."""
    lines = []
    for state in ("infeasible", "pruned"):
        reasons: dict[str, list[TrialRecord]] = {}
        for one in summary.trials:
            if one.tried is not None and one.tried.state == state:
                reasons.setdefault((one.tried.reason or "unknown")[:160], []).append(one)
        for reason, trials in list(reasons.items())[:_MOST_SHOWN]:
            numbers = ", ".join(f"#{one.number}" for one in trials)
            told = f"{state} {numbers}: {reason}"
            if len(trials) == 1 and trials[0].setting is not None:
                told += f": {trials[0].setting.describe(summary.question.default)}"
            lines += [Line(text) for text in wrap_settings(told, "  ")]
        left = len(reasons) - _MOST_SHOWN
        if left > 0:
            lines.append(Line(f"  ... and {format_quantity(left, 'reason')} more"))
    return lines


def _format_confirmation(one: WinnerConfirmation) -> Iterable[Line]:
    text = f"trial {one.number} beside the default: {one.judgement}, {one.reason}"
    if one.speedup is not None:
        middle, least, most = one.speedup
        text += (
            f"; x {middle:.2f} ({least:.2f} to {most:.2f}) over "
            f"{format_quantity(one.blocks, 'block')}"
        )
    return [Line(part) for part in wrap_settings(text, "  ")]


def wrap_settings(text: str, indent: str, first: str = "") -> list[str]:
    """Wrap a line, breaking long settings after their commas.

    Args:
        text: One paragraph.
        indent: What lines but the first begin with.
        first: What the first line begins with.
    """
    wrapped = wrap_text(
        text, initial_indent=first, subsequent_indent=indent, break_long_words=False
    )
    return [piece for line in wrapped for piece in _cut(line, indent)]


def _cut(line: str, indent: str) -> list[str]:
    """Cut a line that is one long word, after commas where it has some."""
    pieces = []
    while len(line) > WIDTH:
        ends = (line.rfind(mark, len(indent) + 1, WIDTH - 1) + 1 for mark in ",+")
        at = next((end for end in ends if end), WIDTH)
        pieces.append(line[:at])
        line = indent + line[at:]
    return [*pieces, line]
