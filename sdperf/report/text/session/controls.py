"""Null controls in words: one, and how often they failed on a kind of machine. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from sdperf.judging.machine_noise import compute_upper_bound
from sdperf.record.verdict import shorten_case
from sdperf.report.text.wrapping import wrap_text
from sdperf.store.controls import UNANSWERED, NullControl
from sdperf.units import format_change, format_quantity


def format_control(control: NullControl) -> str:
    """Say what a null control saw, or why there was none."""
    name = shorten_case(control.case)
    if control.is_sound is None or control.ratio is None:
        reason = control.reason or "it was not finished"
        return f"{'' if reason.startswith(UNANSWERED) else 'no '}null control: {reason}"
    seen = format_self_difference(control.contrasts, is_sound=control.is_sound)
    passed = "passed" if control.is_sound else "FAILED"
    return f"null control {passed}: {name} differs from itself by {seen}"


def format_self_difference(contrasts: Sequence[float], *, is_sound: bool | None = True) -> str:
    """Format how far the same code is from itself, with the range of its blocks.

    >>> format_self_difference([0.1, 0.0, -0.1, 0.08])
    '+2.0 % in 4 blocks (single ones -9.5 % to +10.5 %): within what they can tell'

    Args:
        contrasts: Log ratio of the code to itself in each block; at least one.
        is_sound: Whether they show no difference; ``None`` where they are too few to tell.
    """
    mean, *ends = (
        format_change(math.exp(one))
        for one in (statistics.fmean(contrasts), min(contrasts), max(contrasts))
    )
    told = f"{mean} in {format_quantity(len(contrasts), 'block')} (single ones {' to '.join(ends)})"
    return f"{told}: within what they can tell" if is_sound else told


def format_control_record(controls: Sequence[NullControl], damaged: int = 0) -> list[str]:
    """Say how many controls were run on a kind of machine and how many failed.

    Args:
        controls: The controls that have an answer.
        damaged: Lines of the log that could not be read.
    """
    failed = sum(control.is_sound is False for control in controls)
    lines = format_quantity(damaged, "line")
    unread = f"; {lines} of the log cannot be read" if damaged else ""
    if not controls:
        text = f"null controls on this machine: none with an answer yet{unread}"
    else:
        widest = max(abs(control.ratio - 1) for control in controls if control.ratio is not None)
        text = (
            f"null controls on this machine: {format_quantity(len(controls), 'run')}, "
            f"{failed} failed (the true share is below "
            f"{compute_upper_bound(failed, len(controls)):.0%} with 95 % confidence); the same "
            f"code differed from itself by at most {100 * widest:.1f} %{unread}"
        )
    return wrap_text(text, subsequent_indent="    ")
