"""One side of a comparison: whose code, in which interpreter, with which settings. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from sdperf.errors import SdperfError
from sdperf.images.input_files import InputFile
from sdperf.record.measurement import CaseKind
from sdperf.record.stages import SeparateStage
from sdperf.record.workload import Variant, Workload

SideName = Literal["A", "B"]
"""A is the reference, B is judged against it."""

SIDES: Final[tuple[SideName, ...]] = get_args(SideName)


@dataclass(frozen=True)
class Side:
    """What is measured on one side.

    Attributes:
        label: How people know it: ``main``, ``torch 2.14.1``, ``precision=fp16``.
        workload: What is generated; all of its prompts are drawn once to compare the images.
        pictures: Pixels that the workload names, beside those that ship.
        subject: ``module:function`` that makes the pipeline; ``None`` is the model's own.
        device: A choice of the setting ``device``.
        interpreter: The Python that runs the worker; ``None`` is this one.
        code: Folders searched for modules before all others: a revision's.
        replaces_sdperf: Whether ``code`` holds the revision's own sdperf, which the worker runs in
            place of this one.
        folder: Where the worker works; ``None`` is the current folder.
        revision: Commit of the code; ``None`` is the working tree, or no repository at all.
        repository: Top of the repository that the code is of.
        variant_changes: Fields of `Variant` that this side sets, whatever the case says.
    """

    label: str
    workload: Workload
    subject: str | None = None
    device: str = "auto"
    interpreter: Path | None = None
    code: tuple[str, ...] = ()
    replaces_sdperf: bool = False
    folder: Path | None = None
    revision: str | None = None
    repository: Path | None = None
    variant_changes: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[InputFile, ...] = ()

    def variant_for(self, case: MatrixCase) -> Variant:
        """Return how this side runs a case."""
        return dataclasses.replace(case.variant, **self.variant_changes)


@dataclass(frozen=True)
class MatrixCase:
    """A case of the benchmark matrix.

    Attributes:
        kind: As in `sdperf.run.case.Case`.
        variant: How to run, where a side does not say otherwise.
        stage: The stage of a ``stage`` case.
        batch: Images of a ``throughput`` round.
    """

    kind: CaseKind = "latency"
    variant: Variant = field(default_factory=Variant)
    stage: SeparateStage | None = None
    batch: int = 1

    @property
    def id(self) -> str:
        """The case's name in a pytest run, such as ``stage[fp32-denoise]``."""
        if self.stage is not None:
            return f"{self.kind}[{self.variant.precision}-{self.stage}]"
        return f"{self.kind}[{self.variant.id}]"


def describe_case(case: MatrixCase, a: Variant, b: Variant) -> str:
    """Name a case by how the sides really run it."""
    one = dataclasses.replace(case, variant=a).id
    other = dataclasses.replace(case, variant=b)
    return one if a == b else f"{one[:-1]} | {other.variant.id}]"


class SideError(SdperfError):
    """A side cannot be measured; says which, and carries what happened.

    Args:
        side: Which of the two.
        label: Its label.
        cause: What happened.
    """

    def __init__(self, side: SideName, label: str, cause: SdperfError) -> None:
        super().__init__(
            f"side {side} ({label}): {cause.what}",
            got=cause.got,
            expected=cause.expected,
            hint=cause.hint,
        )
        self.side = side
        self.cause = cause
