"""Collects the kept data for a search's report, and writes the report."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sdperf.ab.sides.worktree import find_repository
from sdperf.ab.verdict.comparison import AbComparison
from sdperf.ab.verdict.images import AGAINST
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.bisect.commits import describe_commit
from sdperf.bisect.searching import Conclusion
from sdperf.bisect.state import StateFolder, StepRecord
from sdperf.errors import ConfigurationError
from sdperf.report.markdown.ab import compose_pictures
from sdperf.report.markdown.bisect import format_bisect_markdown
from sdperf.report.text.bisect import BisectPicture, BisectReport, StepInfo
from sdperf.store.files import encode_text, write_atomically
from sdperf.units import format_score

MOST_PICTURES: Final = 4
_WRITTEN: Final = ("found", "range")
"""Endings of a search after which a report is always written."""


def collect_report(
    conclusion: Conclusion,
    kept: StateFolder,
    steps: Mapping[str, StepInfo],
    command: str,
    version: str,
) -> BisectReport:
    """Read the relevant comparisons and judge them again."""
    state = conclusion.state
    infos = dict(steps)
    found = conclusion.standing.first_bad
    if conclusion.ending == "found" and found is not None and state.question.kind == "revisions":
        infos[found] = _describe(found)
    end = _read(kept, state.end)
    closing = _read(kept, state.closing)
    return BisectReport(
        conclusion=conclusion,
        steps=infos,
        end=tuple(case for one in end for case in judge_comparison(one).cases),
        closing=tuple(case for one in closing for case in judge_comparison(one).cases),
        comparison=end[0] if end else None,
        command=command,
        noun="commit" if state.question.kind == "revisions" else "version",
        version=version,
    )


def write_report(report: BisectReport, kept: StateFolder, path: Path | None) -> Path | None:
    """Write the report and its pictures; each file is written whole or not at all.

    Args:
        report: The report to write.
        kept: The store of the images.
        path: The file; ``None`` makes a name, and writes only where something was found.

    Returns:
        The written file; ``None`` where none was written.

    Raises:
        ConfigurationError: The report cannot be written.
    """
    if path is None:
        if report.conclusion.ending not in _WRITTEN:
            return None
        path = Path(f"sdperf-bisect-{_slug(report)}.md")
    folder = path.with_name(f"{path.stem}-images")
    try:
        pictures = []
        for name, caption, png in _draw(report, kept):
            write_atomically(folder / name, png)
            pictures.append(BisectPicture(f"{folder.name}/{name}", caption))
        whole = dataclasses.replace(report, pictures=tuple(pictures))
        write_atomically(path, encode_text(format_bisect_markdown(whole)))
    except OSError as error:
        raise ConfigurationError(
            "the report cannot be written",
            got=f"{path}: {error.strerror}",
            hint="make room and ask again: nothing is measured twice",
        ) from error
    return path


def _draw(report: BisectReport, kept: StateFolder) -> Iterator[tuple[str, str, bytes]]:
    """Draw the images that changed most: before, after, difference."""
    comparisons = _read(kept, report.state.closing) or _read(kept, report.state.end)
    for number, comparison in enumerate(comparisons):
        changed = [
            (score.ssim, pair)
            for case in comparison.cases
            for pair in case.images
            if (score := pair.b.score(AGAINST)) is not None and not score.identical
        ]
        worst = [pair for _, pair in sorted(changed, key=lambda one: one[0])[:MOST_PICTURES]]
        shown = dataclasses.replace(
            comparison,
            cases=tuple(
                dataclasses.replace(
                    case, images=tuple(pair for pair in case.images if pair in worst)
                )
                for case in comparison.cases
            ),
        )
        pngs = {
            sha256: path.read_bytes()
            for pair in worst
            for sha256 in (pair.a.sha256, pair.b.sha256)
            if (path := kept.find_image(sha256)) is not None
        }
        if any(sha256 not in pngs for pair in worst for sha256 in (pair.a.sha256, pair.b.sha256)):
            continue
        captions = [
            f"{pair.a.prompt!r}, seed {pair.a.seed}: SSIM "
            f"{format_score(score.ssim)}, worst tile {format_score(score.worst_tile_ssim)}"
            for case in shown.cases
            for pair in case.images
            if (score := pair.b.score(AGAINST)) is not None
        ]
        drawn = compose_pictures(shown, pngs)
        for caption, (name, png) in zip(captions, drawn, strict=True):
            yield f"{number + 1}-{name}", caption, png


def _describe(commit: str) -> StepInfo:
    info = describe_commit(find_repository(Path.cwd()), commit)
    return StepInfo(
        info.short,
        info.subject,
        (("author", info.author), ("author date", info.author_date), ("commit", info.commit)),
        info.files,
    )


def _read(kept: StateFolder, record: StepRecord | None) -> list[AbComparison]:
    return [] if record is None else [kept.read_comparison(name) for name in record.comparisons]


def _slug(report: BisectReport) -> str:
    found = report.conclusion.standing.first_bad
    step = found or report.state.question.bad
    name = report.info(step).name
    return re.sub(r"[^A-Za-z0-9.+]+", "-", name).strip("-.")[:60] or "result"
