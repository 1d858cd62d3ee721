"""Where a recording of a generation comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdperf.run.messages import WorkerSpec


@dataclass(frozen=True)
class Source:
    """Where a recording comes from.

    Attributes:
        spec: What is loaded.
        threads: CPU threads of its operators.
        words: What it is, for the report.
    """

    spec: WorkerSpec
    threads: int
    words: str = field(compare=False, default="")
