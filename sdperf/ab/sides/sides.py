"""One side of a comparison: its code, its interpreter, its settings. Pure."""

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
    """One side of a comparison.

    Attributes:
        label: Its name for people: ``main``, ``torch 2.14.1``, ``precision=fp16``.
        workload: What is generated; all of its prompts are drawn once to compare the images.
        left_open: Which of steps and guidance are the model's since the user left them open.
        pictures: Pixels that the workload names, beside those that ship.
        subject: ``module:function`` that makes the pipeline; ``None`` for the model's own pipeline.
        device: A choice of the setting ``device``.
        interpreter: The Python that runs the worker; ``None`` is this one.
        code: Folders of a revision that are searched first for modules.
        replaces_sdperf: Whether ``code`` has the revision's own sdperf, which the worker runs in
            place of this one.
        folder: Working folder of the worker; ``None`` is the current folder.
        revision: Commit of the code; ``None`` for the working tree, or without a repository.
        repository: Top of the code's repository.
        variant_changes: Fields of `Variant` that this side sets in every case.
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
    left_open: tuple[str, ...] = ()

    def variant_for(self, case: MatrixCase) -> Variant:
        """Return how this side runs a case."""
        return dataclasses.replace(case.variant, **self.variant_changes)


@dataclass(frozen=True)
class MatrixCase:
    """A case of the benchmark matrix.

    Attributes:
        kind: ``latency``, ``throughput`` or ``stage``.
        variant: The variant to run, unless a side changes it.
        stage: The stage of a ``stage`` case.
        batch: Number of images of a ``throughput`` round.
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
    """Name a case by the variants that the sides really run."""
    one = dataclasses.replace(case, variant=a).id
    other = dataclasses.replace(case, variant=b)
    return one if a == b else f"{one[:-1]} | {other.variant.id}]"


class SideError(SdperfError):
    """A side cannot be measured; the error names the side and has the cause.

    Args:
        side: Letter of the side.
        label: Its label.
        cause: The error of the side.
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
