"""A machine's own noise in words. Pure."""

from __future__ import annotations

import math

from sdperf.judging.machine_noise import MachineNoise
from sdperf.report.text.wrapping import wrap_text
from sdperf.settings import MAX_SLOWDOWN
from sdperf.units import format_change, format_quantity


def format_machine_noise(noise: MachineNoise, fingerprint: str) -> list[str]:
    """Say how often the gate is wrong here, and what it would catch."""
    limit = format_change(1 + noise.max_slowdown)
    sessions = format_quantity(noise.sessions, "session")
    red = f"{noise.red_sessions} of {sessions} red"
    again = f"{noise.suspicious_sessions} of {sessions} would measure a case again"
    suspected = _format_slowdown(noise.smallest_suspected)
    proven = _format_slowdown(noise.smallest_proven)
    width = format_change(1 + noise.telling_width)
    texts = [
        f"{sessions} of unchanged code, {format_quantity(noise.cases, 'case')}, on {fingerprint}",
        f"false alarms: {red} by saved numbers alone; the true share is below "
        f"{noise.red_bound:.0%} with 95 % confidence (more sessions say more)",
        again,
        f"slowdown of a case that is measured again in 95 % of trials: {suspected}",
        f"slowdown that saved numbers alone prove in 95 % of trials: {proven}",
        f"an unchanged case moves by up to {width} from session to session "
        f"(95 %; the noisiest: {noise.noisiest})",
    ]
    able = sum(one <= noise.max_slowdown for one in noise.widths.values())
    texts.append(f"cases that move by less than the limit of {limit}: {able} of {noise.cases}")
    if noise.supports_limit:
        texts.append(f"this machine supports the limit of {limit}")
    else:
        texts.append(
            f"REFUSED: this machine does not support the limit of {limit}, its own noise is "
            f"{width}; quiet the machine (sdperf doctor), take more rounds, or allow more: "
            f"pytest {MAX_SLOWDOWN} {math.ceil(noise.telling_width * 100)}%"
        )
    return [line for text in texts for line in wrap_text(text, subsequent_indent="    ")]


def _format_slowdown(slowdown: float | None) -> str:
    return "not even twice as slow" if slowdown is None else format_change(1 + slowdown)
