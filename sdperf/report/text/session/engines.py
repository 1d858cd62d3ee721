"""Engine against engine: the figures of each engine for the same case. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.record.measurement import ImageScores, Measurement
from sdperf.record.workload import SYNC_REFERENCES, TORCH, Variant, name_engine
from sdperf.report.table import Column, Table
from sdperf.report.text.lines import Line
from sdperf.report.text.session.cases import Row
from sdperf.report.text.table import format_text_table
from sdperf.units import UNKNOWN, format_bytes, format_score, format_seconds

HEADER: Final = (
    "engine",
    "s/image",
    "torch s/image",
    "times as fast",
    "SSIM",
    "worst tile",
    "files",
    "converted in",
)
"""The header of the rows that `tabulate_engine` makes."""


@dataclass(frozen=True)
class EngineResult:
    """The figures of one case on one engine.

    Attributes:
        engine: Its name.
        provider: What it ran on, in its own words; empty for torch.
        per_image_s: Median seconds of an image.
        torch_s: Median seconds of an image of the torch that it is compared with: the one that it
            took turns with, or the case on torch; ``None`` where it is unknown.
        times: How many times as fast as torch; ``None`` for torch itself and where it is unknown.
        is_paired: Whether both took turns, so that drift cancels.
        ssim: Worst image against torch's; ``None`` unknown.
        tile: SSIM of the worst tile against torch's; ``None`` unknown.
        model_bytes: Weights (and programs) as the engine holds them.
        conversion_s: Seconds that the conversion took when it was made.
    """

    engine: str
    provider: str
    per_image_s: float
    torch_s: float | None = None
    times: float | None = None
    is_paired: bool = False
    ssim: float | None = None
    tile: float | None = None
    model_bytes: int | None = None
    conversion_s: float | None = None


@dataclass(frozen=True)
class EngineGroup:
    """One case on several engines.

    Attributes:
        title: Kind and variant without the engine.
        results: Torch first, then in the order in which they ran.
    """

    title: str
    results: tuple[EngineResult, ...]


def group_engines(measured: Iterable[Measurement]) -> list[EngineGroup]:
    """Group cases that differ in their engine only; a case on a single engine is left out.

    The torch side of a gain counts as a case on torch.
    """
    groups: dict[tuple[str, Variant], list[Measurement]] = {}
    for one in measured:
        plain = dataclasses.replace(one.variant, engine=TORCH)
        groups.setdefault((one.stage or one.kind, plain), []).append(one)
    found = []
    for (kind, variant), members in groups.items():
        ordered = sorted(members, key=lambda one: one.variant.engine != TORCH)
        results = _list_results(ordered, variant)
        if len({one.engine for one in results}) > 1:
            found.append(EngineGroup(f"{kind} {variant.id}", tuple(results)))
    return found


def _list_results(members: Sequence[Measurement], plain: Variant) -> list[EngineResult]:
    torch_s = next((one.seconds_per_image for one in members if one.variant == plain), None)
    results: dict[tuple[str, bool], EngineResult] = {}
    for one in members:
        is_paired = one.gain is not None and one.gain.against == plain
        result = _make_result(one, torch_s, is_paired=is_paired)
        results.setdefault((result.engine, is_paired and result.engine != TORCH), result)
    if torch_s is None:
        sides = [one.gain for one in members if one.gain is not None and one.gain.against == plain]
        if sides:
            return [EngineResult(TORCH, "", sides[0].plain_s_per_image), *results.values()]
    return list(results.values())


def _make_result(one: Measurement, torch_s: float | None, *, is_paired: bool) -> EngineResult:
    use, engine = one.engine, name_engine(one.variant.engine)
    times = None if torch_s is None else torch_s / one.seconds_per_image
    if is_paired and one.gain is not None:
        torch_s, times = one.gain.plain_s_per_image, one.gain.ratio
    scores = [] if engine == TORCH else _list_scores(one)
    weights = sum(one.memory.weight_bytes.values()) or None
    return EngineResult(
        engine=engine,
        provider="" if use is None else use.provider,
        per_image_s=one.seconds_per_image,
        torch_s=None if engine == TORCH else torch_s,
        times=None if engine == TORCH else times,
        is_paired=is_paired,
        ssim=min((score.ssim for score in scores), default=None),
        tile=min((score.worst_tile_ssim for score in scores), default=None),
        model_bytes=weights if use is None else use.model_bytes,
        conversion_s=None if use is None else use.conversion_s,
    )


def _list_scores(one: Measurement) -> list[ImageScores]:
    """Return a case's scores against torch: its partner's in turns, else the plain reference's."""
    for against in ("plain", *SYNC_REFERENCES):
        found = [image.score(against) for image in one.images]
        known = [score for score in found if score is not None]
        if known:
            return known
    return []


def tabulate_engine(one: EngineResult) -> tuple[str, ...]:
    """Lay one engine out under `HEADER`."""
    times = UNKNOWN if one.times is None else f"{one.times:.2f}{'' if one.is_paired else ' *'}"
    return (
        one.engine,
        format_seconds(one.per_image_s),
        format_seconds(one.torch_s),
        times,
        format_score(one.ssim),
        format_score(one.tile),
        format_bytes(one.model_bytes),
        format_seconds(one.conversion_s),
    )


def format_engines(rows: Iterable[Row]) -> list[Line]:
    """Print each group of engines as a small table."""
    groups = group_engines(row.measurement for row in rows if row.measurement is not None)
    return list(_format_groups(groups))


def _format_groups(groups: Sequence[EngineGroup]) -> Iterator[Line]:
    for group in groups:
        yield Line("")
        yield Line(f"engine against engine, {group.title}")
        first, *others = HEADER
        columns = (Column(first, is_text=True), *(Column(one, gap=2) for one in others))
        table = Table(columns, tuple(map(tabulate_engine, group.results)))
        yield from format_text_table(table, "  ")
        if any(one.is_paired for one in group.results):
            yield Line(
                "  torch s/image: of the torch that the engine took turns with; so are times"
            )
        if any(one.times is not None and not one.is_paired for one in group.results):
            yield Line("  * one after the other; drift is not excluded: sdperf ab --b engine=NAME")
