"""Did two runs of one workload execute the same work? Compares pictures and steps. Pure."""

from __future__ import annotations

from typing import Final

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import GUIDANCE, SCHEDULER, SIZE, STEPS

GATE: Final = "work"

_HELD_EQUAL: Final = {
    "steps": "steps of the scheduler",
    "guided": "guidance",
    "precision": "the denoiser's weights in",
    "scheduler": "the scheduler",
}
"""What is compared. Denoiser calls are only recorded: pictures judge a change that skips some."""


OTHER_WORK_IS_MEANT: Final = (
    "where the new work is meant: sdperf baseline reject SESSION for each session of the old, "
    "then accept a run"
)
"""The way out for a case that is BROKEN by its baseline, since a broken case is never accepted."""


def judge_execution(current: Measurement, base: Measurement) -> Finding | None:
    """Compare what a case executed with what its baseline executed, of the same workload.

    Args:
        current: What was just measured.
        base: What it is compared with.

    Returns:
        BROKEN with both values; ``None`` where they agree, or where one value is unknown.
    """
    seen = _list_differences(current, base)
    if not seen:
        return None
    return Finding(
        Outcome.BROKEN,
        GATE,
        f"other work than the baseline's: {'; '.join(seen)}",
        f"ask for it in the workload (pytest {STEPS}, {SIZE}, {GUIDANCE}, {SCHEDULER}); "
        f"{OTHER_WORK_IS_MEANT}",
    )


def _list_differences(current: Measurement, base: Measurement) -> list[str]:
    seen = []
    now, then = current.execution, base.execution
    if now is not None and then is not None:
        for name, words in _HELD_EQUAL.items():
            before, after = getattr(then, name), getattr(now, name)
            if None not in (before, after) and before != after:
                seen.append(f"{words} {_name(before)} in the baseline, {_name(after)} now")
        seen += [
            f"{name} {_name(then.optimisations[name])} in the baseline, {_name(took)} now"
            for name, took in now.optimisations.items()
            if then.optimisations.get(name, took) != took
        ]
    sizes = {(one.prompt, one.seed): (one.width, one.height) for one in base.images}
    for image in current.images:
        size = sizes.get((image.prompt, image.seed))
        if size is not None and size != (image.width, image.height):
            seen.append(
                f"{size[0]} x {size[1]} px in the baseline, {image.width} x {image.height} px now"
            )
            break
    return seen


def _name(value: object) -> object:
    """Format a value; a switch is shown as on or off."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
