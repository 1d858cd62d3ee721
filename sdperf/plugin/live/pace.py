"""Says why a session may be slow, as soon as its pace is known: other work, waiting threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sdperf.record.guard import Guard

WAIT_POLICY: Final = "OMP_WAIT_POLICY"
"""OpenMP's variable: ``PASSIVE`` lets threads that wait sleep; else they ask again and again."""


def explain_machine(
    guards: Sequence[Guard], device_kind: str, threads: int, environ: Mapping[str, str]
) -> list[str]:
    """Say what about the machine may slow down the images, a sentence each.

    Args:
        guards: The guards before the first case.
        device_kind: The kind of device that draws, such as ``cpu``.
        threads: Threads of one worker on the CPU.
        environ: The session's environment variables.

    Returns:
        Guards that fail, then those that warn, then whether waiting threads may spin.

    >>> busy = Guard("load", "fail", "4.19 per core", "other work takes processors", "end it")
    >>> explain_machine([busy], "mps", 4, {})
    ['guard fail  load: 4.19 per core: other work takes processors; do: end it']
    """
    told = [
        guard.describe() + ("" if guard.hint is None else f"; do: {guard.hint}")
        for state in ("fail", "warn")
        for guard in guards
        if guard.state == state
    ]
    is_busy = any(one.name == "load" and one.state in ("fail", "warn") for one in guards)
    if is_busy and device_kind == "cpu" and threads > 1 and WAIT_POLICY not in environ:
        told.append(
            "threads of the CPU that wait for each other keep their processors busy, and beside "
            "other programs that can make an image many times slower; to let them sleep, type "
            f"{WAIT_POLICY}=PASSIVE before the command, for accepted sessions too"
        )
    return told
