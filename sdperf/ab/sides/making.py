"""Makes two sides from the user's request: revisions, interpreters and settings in any mixture."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sdperf.ab.sides.interpreters import Interpreter, examine_interpreter, label_interpreters
from sdperf.ab.sides.revisions import WORKING_TREE, RevisionCode, opened_revisions
from sdperf.ab.sides.settings import SideSettings
from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.device import DeviceInfo, DeviceKind
from sdperf.engines.requirements import require_installed
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import refuse_unusable

_EXPECTED = "two revisions, two --python, or --a and --b"


@dataclass(frozen=True)
class SidesRequest:
    """The user's request for a comparison.

    Attributes:
        revisions: No revision, one (against the working tree) or two.
        pythons: No interpreter, one (for both sides) or two.
        a: Settings of A alone.
        b: Settings of B alone.
        both: Settings of both sides, which the settings of a side override.
        labels: Names of the sides; empty for automatic names.
        pictures: How many prompts are drawn to compare the images; ``None`` is all.
    """

    revisions: tuple[str, ...] = ()
    pythons: tuple[Path, ...] = ()
    a: SideSettings = field(default_factory=SideSettings)
    b: SideSettings = field(default_factory=SideSettings)
    both: SideSettings = field(default_factory=SideSettings)
    labels: tuple[str, ...] = ()
    pictures: int | None = None


@contextlib.contextmanager
def made_sides(request: SidesRequest, here: Path) -> Iterator[tuple[Side, Side]]:
    """Make the two sides; worktrees of revisions are removed afterwards.

    Raises:
        ConfigurationError: There are no two sides to compare, or something named does not exist.
    """
    revisions, pythons = request.revisions, request.pythons
    for what, given in (
        ("revisions", revisions),
        ("--python", pythons),
        ("--label", request.labels),
    ):
        if len(given) > 2:
            raise ConfigurationError(f"too many {what}", got=len(given), expected="two at most")
    if len(request.labels) == 1:
        raise ConfigurationError("--label names both sides", got="one", expected="two --label")
    if not revisions and len(pythons) < 2 and not request.a.text and not request.b.text:
        raise ConfigurationError(
            "there is nothing to compare",
            expected=_EXPECTED,
            hint="sdperf ab main; or: sdperf ab --a precision=fp32 --b precision=bf16",
        )
    names = (revisions[0], WORKING_TREE) if len(revisions) == 1 else revisions
    interpreters = tuple(examine_interpreter(path.absolute()) for path in pythons)
    settings = (request.a.over(request.both), request.b.over(request.both))
    with contextlib.ExitStack() as stack:
        codes: Sequence[RevisionCode | None] = (None, None)
        if names:
            codes = stack.enter_context(opened_revisions(names, here))
        pairs = interpreters if len(interpreters) == 2 else (interpreters * 2)[:2]
        labels = request.labels or _make_labels(names, interpreters, (request.a, request.b))
        look = functools.cache(_describe_device)
        a, b = (
            _make_side(labels[i], settings[i], codes[i], pairs[i] if pairs else None, request, look)
            for i in range(2)
        )
        yield a, b


def _make_side(
    label: str,
    settings: SideSettings,
    code: RevisionCode | None,
    interpreter: Interpreter | None,
    request: SidesRequest,
    describe_device: Callable[[str], DeviceInfo],
) -> Side:
    chosen = settings.choose_picture()
    workload = settings.make_workload(chosen.picture)
    if request.pictures is not None:
        workload = dataclasses.replace(workload, prompts=workload.prompts[: request.pictures])
    side = Side(
        label=label,
        workload=workload,
        left_open=tuple(sorted(settings.left_open)),
        pictures=chosen.files,
        subject=settings.subject,
        device=settings.device or "auto",
        interpreter=None if interpreter is None else interpreter.path,
        variant_changes=dict(settings.variant),
    )
    if interpreter is None:
        variant = side.variant_for(MatrixCase())
        kind = "cpu" if side.device == "auto" else side.device
        require_installed([variant.engine], variant.optimisations, cast("DeviceKind", kind))
        refuse_unusable([variant.optimisations], lambda: describe_device(side.device))
    if code is None:
        return side
    return dataclasses.replace(
        side,
        code=code.code,
        replaces_sdperf=code.replaces_sdperf,
        folder=code.folder,
        revision=code.commit,
        repository=code.repository,
    )


def _describe_device(choice: str) -> DeviceInfo:
    """Ask a process of this interpreter what a choice of the setting ``device`` means."""
    from sdperf.run.pool import WorkerPool

    return WorkerPool().describe_device(choice)


def _make_labels(
    revisions: Sequence[str], interpreters: Sequence[Interpreter], settings: Sequence[SideSettings]
) -> tuple[str, str]:
    """Name the sides by their differences."""
    parts: tuple[list[str], list[str]] = ([], [])
    told = label_interpreters(interpreters) if len(interpreters) == 2 else ("", "")
    for i in range(2):
        if revisions:
            name = revisions[i]
            parts[i].append("working tree" if name == WORKING_TREE else name)
        parts[i].append(told[i])
        parts[i].append(settings[i].text)
    made = [", ".join(filter(None, part)) for part in parts]
    return made[0] or "as given", made[1] or "as given"
