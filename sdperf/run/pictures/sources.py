"""The pipeline that a recording of a generation comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdperf.run.messages import WorkerSpec


@dataclass(frozen=True)
class Source:
    """The pipeline that a recording comes from.

    Attributes:
        spec: The specification of the loaded pipeline.
        threads: CPU threads of its operators.
        words: Its description for the report.
    """

    spec: WorkerSpec
    threads: int
    words: str = field(compare=False, default="")
