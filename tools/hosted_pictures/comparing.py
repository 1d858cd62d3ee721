"""What was predicted of pictures, and what the gates said of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_WRONG: Final = ("BROKEN", "DEGRADED", "CHANGED")
_HARMFUL: Final = ("crash", "error", "wrong", "fallback")


@dataclass(frozen=True)
class Prediction:
    """What mps-check said.

    Attributes:
        precision: Number format of the weights.
        faults: Limits that are certain to do harm.
    """

    precision: str
    faults: tuple[str, ...]

    @classmethod
    def of(cls, precision: str, report: dict[str, Any]) -> Prediction:
        """Read a report; what depends on something unknown, or is only suspected, is left out."""
        faults = {
            each["id"]: None
            for each in report["findings"]
            if each["effect"] in _HARMFUL
            and each["certainty"] == "reported"
            and not each["condition"]
        }
        return cls(precision, tuple(faults))


@dataclass(frozen=True)
class Pictures:
    """What the gates said of pictures.

    Attributes:
        judged: Cases in which pictures or latents were looked at.
        wrong: Those of them that a gate failed.
        lost: Cases that ended without a picture, which says nothing of pictures.
    """

    judged: tuple[str, ...]
    wrong: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True)
class HostedReport:
    """The comparison.

    Attributes:
        lines: A table in Markdown, and a sentence.
        as_expected: Whether the gates said what is known of this machine.
    """

    lines: tuple[str, ...]
    as_expected: bool


def read_pictures(run: dict[str, Any]) -> Pictures:
    """Read the quality cases of a run's JSON.

    Raises:
        KeyError: It holds none.
    """
    cases = run["sdperf_quality"]["cases"]
    seen = [case for case in cases if case["seen"] is not None]
    return Pictures(
        judged=tuple(case["case"] for case in seen),
        wrong=tuple(case["case"] for case in seen if case["outcome"] in _WRONG),
        lost=tuple(case["case"] for case in cases if case["seen"] is None),
    )


def compare(pairs: Sequence[tuple[Prediction, Pictures]], *, expects_wrong: bool) -> HostedReport:
    """Hold predictions against what happened.

    Where wrong pictures are expected, a gate of at least one precision has to see them; where sound
    ones are, none may fail and no case may be lost.

    Args:
        pairs: One a precision.
        expects_wrong: Whether this machine is known to draw wrong pictures.
    """
    rows = ["| precision | predicted | judged | failed | without a picture | prediction |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for predicted, found in pairs:
        if not found.judged:
            came = "no picture to hold it against"
        else:
            came = "right" if bool(predicted.faults) == bool(found.wrong) else "not right"
        rows.append(
            f"| {predicted.precision} | {', '.join(predicted.faults) or 'sound'} | "
            f"{len(found.judged)} | {len(found.wrong)} | {len(found.lost)} | {came} |"
        )
    wrong = any(found.wrong for _, found in pairs)
    complete = all(found.judged and not found.lost for _, found in pairs)
    if expects_wrong:
        as_expected = wrong
        words = (
            "the gates see the wrong pictures of this machine"
            if wrong
            else (
                "no gate failed, though this machine is known to draw wrong pictures: either it is "
                "repaired, or the gates are blind"
            )
        )
    else:
        as_expected = complete and not wrong
        words = (
            "all pictures are sound"
            if as_expected
            else ("pictures are wrong, or there are none, where sound ones are known")
        )
    return HostedReport((*rows, "", words), as_expected)
