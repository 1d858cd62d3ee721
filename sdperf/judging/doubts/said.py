"""What a run said of its pictures against its own baseline, read in another comparison. Pure.

Its pictures were compared with those of the session that it had as its baseline. Where a reader
compares it with another session, that finding is about neither of the two: the words say so, and
pictures that are the very ones of the other session have not become worse since.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from sdperf.judging.images import name_picture
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome

_AGAINST_BASELINE: Final = re.compile(r"\b(?:against|below) the baseline, (?:floor|limit) ")


def weigh_said(
    said: Finding, current: Measurement, base: Measurement | None, source: str, named: str | None
) -> Finding:
    """Say against what a run found its pictures worse, where it was not this base.

    Args:
        said: A finding of the run itself.
        current: The run's record of the case.
        base: The record that the case is now compared with; ``None`` where no base has one.
        source: The name of the base.
        named: The name of the session that the run had as its baseline; ``None`` is unknown.

    Returns:
        The finding itself where it is about something else, or was found against this base. PASS
        where each picture has the bytes of the base's. Else the finding with the words.
    """
    if said.outcome is not Outcome.DEGRADED or not _is_against_baseline(said, current):
        return said
    if base is not None and _found_against(current) <= _list_hashes(base):
        return said
    found = f"in its own run, against {named or 'a session that is not named'}"
    if base is not None and _list_pictures(current) == _list_pictures(base):
        return Finding(
            Outcome.PASS,
            said.gate,
            f"the same bytes as in {source}; {said.outcome.value} {found}: {said.reason}",
        )
    return replace(said, reason=f"{said.reason}; found {found}")


def _is_against_baseline(said: Finding, current: Measurement) -> bool:
    """Tell whether a finding is on a score against the baseline, by the words after its picture."""
    for image in current.images:
        name = f"{name_picture(image)}: "
        if said.reason.startswith(name):
            return _AGAINST_BASELINE.search(said.reason.removeprefix(name)) is not None
    return False


def _found_against(current: Measurement) -> set[str]:
    """Return the hashes of the baseline's pictures that a run was compared with."""
    return {
        score.against_sha256
        for image in current.images
        for score in image.scores
        if score.against == "baseline"
    }


def _list_hashes(one: Measurement) -> set[str]:
    return {image.sha256 for image in one.images}


def _list_pictures(one: Measurement) -> list[tuple[str, int, str]]:
    return sorted((image.prompt, image.seed, image.sha256) for image in one.images)
