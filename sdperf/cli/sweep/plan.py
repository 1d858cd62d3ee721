"""What a sweep is going to do and how long that takes, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sdperf.ab.turns.blocks import RENEW_EVERY
from sdperf.ab.turns.case_state import plan_block
from sdperf.bisect.judging import LOOKS, format_bounds
from sdperf.report.sweep import describe_stage_step
from sdperf.stats.paired import CYCLE
from sdperf.sweep.state import FailedStep, PairRecord, SweepQuestion, SweepState
from sdperf.units import format_quantity, format_seconds

_SUPPOSED_S: Final = (1.0, 10.0)
"""Seconds of an image for which the plan says the time, before one was drawn."""

_LOAD_S: Final = 10.0
"""What loading, first call and warm-up of both sides are supposed to take."""

_MOST_LISTED: Final = 30


def describe_plan(
    question: SweepQuestion, names: Mapping[str, str], state: SweepState | None
) -> Iterator[str]:
    """Say what is measured, how many comparisons that takes, and how long.

    Args:
        question: What is asked.
        names: What people know steps by.
        state: What was kept; ``None`` where there is nothing.
    """
    plan = question.plan
    noun = "commit" if question.kind == "revisions" else "version"
    chosen = [names[step] for step in plan.chosen]
    yield (
        f"{question.about}: {len(chosen)} of {format_quantity(len(plan.steps), noun)}: "
        f"{_list_names(chosen)}"
    )
    anchor = "the oldest that runs" if plan.anchor is None else names[plan.anchor]
    told = f"{format_quantity(plan.most_chosen_pairs, 'comparison')}: neighbours, and each with "
    told += f"the anchor ({anchor})"
    if plan.is_dense:
        told += f"; where something happens up to {plan.most_dense_pairs} more between"
    yield told
    left = plan.most_chosen_pairs if state is None else len(state.list_left())
    took = [] if state is None else [one.took_s for one in state.pairs if not one.reason]
    if state is not None and (state.pairs or state.failed):
        yield (
            f"going on after {format_quantity(len(state.pairs), 'comparison')}, begun "
            f"{state.started} (--no-resume starts again)"
        )
    if took and left:
        each_s = sum(took) / len(took)
        yield f"{left} left: about {format_span(left * each_s)}, as long as those before took"
    elif left:
        cases = len(question.cases)
        for image_s in _SUPPOSED_S:
            blocks = (4, LOOKS[-1]) if question.options.is_timed else (0,)
            spans = [left * cases * estimate_s(question, image_s, one) for one in blocks]
            yield (
                f"if an image takes {image_s:g} s: {' to '.join(map(format_span, spans))}, "
                "environments not counted"
            )


def _list_names(names: Sequence[str]) -> str:
    """Join names with commas; of a long list the oldest ones, and the newest.

    >>> _list_names([str(number) for number in range(40)])[-24:]
    '28, and 10 more up to 39'
    """
    if len(names) <= _MOST_LISTED:
        return ", ".join(names)
    shown = names[: _MOST_LISTED - 1]
    return f"{', '.join(shown)}, and {len(names) - len(shown) - 1} more up to {names[-1]}"


def estimate_s(question: SweepQuestion, image_s: float, blocks: int) -> float:
    """Estimate how long a case of a comparison takes.

    Args:
        question: What is asked.
        image_s: Seconds of an image.
        blocks: Blocks that it takes to decide; 0 where nothing is timed.
    """
    case = question.cases[0]
    plan = plan_block(case, image_s)
    rounds = plan.rounds if question.options.rounds is None else question.options.rounds
    cycles = plan.cycles if question.options.rounds is None else 1
    round_s = image_s * case.batch
    block_s = CYCLE * cycles * rounds * round_s + 2 * image_s
    renewals = max(-(-blocks // RENEW_EVERY), 1)
    warmup = 1 + question.options.warmup
    images = 2 * len(question.workload.prompts) + 2 * renewals * warmup
    return blocks * block_s + renewals * _LOAD_S + images * image_s


def format_span(seconds: float) -> str:
    """Format minutes and hours as people say them.

    >>> format_span(50), format_span(600), format_span(9000)
    ('50.0 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return format_seconds(seconds)
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def describe_record(record: PairRecord | FailedStep, names: Mapping[str, str]) -> str:
    """Say in a line what a comparison said."""
    if isinstance(record, FailedStep):
        return f"{names[record.step]} cannot be measured: {record.reason}"
    ends = f"{names[record.a]} -> {names[record.b]}"
    if record.reason:
        return f"{ends}: could not be compared: {record.reason}"
    parts = []
    for case in record.cases:
        told = "not timed" if case.is_untimed else str(case.speed)
        if None not in (case.change_log, case.lower_log, case.upper_log):
            bounds = format_bounds(
                case.change_log or 0.0, case.lower_log or 0.0, case.upper_log or 0.0
            )
            told += f", {bounds}"
        told += f", pictures {case.pictures}"
        told += "".join(f", {describe_stage_step(stage)}" for stage in case.stages[:2])
        parts.append(told if len(record.cases) == 1 else f"{case.case}: {told}")
    return f"{ends}: {'; '.join(parts)}, {format_seconds(record.took_s)}"
