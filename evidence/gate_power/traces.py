"""Suites put together from recorded sessions of unchanged code on real machines.

Whole sessions are resampled in runs of three neighbours, each session at most once in a suite, so
that what the cases of a session have in common, and what neighbouring sessions have, stays as it
was recorded. Nothing is resampled within a session.

Source: moving-block bootstrap (Kunsch, 1989), without replacement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).with_name("traces")
NEIGHBOURS = 3


@dataclass(frozen=True)
class Trace:
    """One recording.

    Attributes:
        name: Of its file.
        rounds_s: ``(S, C, R)`` seconds.
        blocks_s: ``(B, C, 4)`` seconds of paired blocks, every block from two fresh processes;
            ``None`` where none were recorded.
        block_orders: Order of the arms of each block.
    """

    name: str
    rounds_s: NDArray[np.float64]
    blocks_s: NDArray[np.float64] | None
    block_orders: tuple[str, ...]


@dataclass(frozen=True)
class TraceSuite:
    """Accepted sessions, a current one, and what was recorded besides.

    Attributes:
        rounds_s: ``(K + 1, C, R)`` seconds; the last session is the current one.
        spare: Sessions that are in none of those.
    """

    rounds_s: NDArray[np.float64]
    spare: NDArray[np.int64]


def read_traces(folder: Path = FOLDER) -> list[Trace]:
    """Read every recording, by name."""
    traces = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        blocks = document.get("blocks")
        traces.append(
            Trace(
                name=f"trace: {path.stem}",
                rounds_s=np.array(document["sessions"]),
                blocks_s=None if blocks is None else np.array(blocks),
                block_orders=tuple(document.get("block_orders", ())),
            )
        )
    return traces


def draw_trace_suite(trace: Trace, accepted: int, rng: np.random.Generator) -> TraceSuite:
    """Choose sessions of a trace in runs of neighbours, in random order.

    Raises:
        ValueError: The trace has too few sessions.
    """
    sessions, wanted = len(trace.rounds_s), accepted + 1
    if sessions < wanted:
        raise ValueError(f"{trace.name} has {sessions} sessions, a suite takes {wanted}")
    offset = int(rng.integers(NEIGHBOURS))
    starts = np.arange(-offset, sessions, NEIGHBOURS)
    rng.shuffle(starts)
    order = [
        session
        for start in starts
        for session in range(max(start, 0), min(start + NEIGHBOURS, sessions))
    ]
    chosen, spare = order[-wanted:], order[:-wanted]
    return TraceSuite(trace.rounds_s[chosen], np.array(spare, dtype=np.int64))


@dataclass(frozen=True)
class RecordedAgain:
    """Measures a case again by what was recorded of it (`evidence.gate_power.gates.Again`)."""

    trace: Trace
    suite: TraceSuite
    rng: np.random.Generator

    def draw_blocks_s(self, case: int, orders: list[str], slowdown: float) -> NDArray[np.float64]:
        """Take recorded blocks at random; each keeps its order, and so its drift.

        A block whose order is the wanted one's mirror image is read with its arms exchanged, which
        the unchanged code allows.
        """
        assert self.trace.blocks_s is not None
        picks = self.rng.choice(len(self.trace.blocks_s), len(orders), replace=False)
        drawn = self.trace.blocks_s[picks, case]
        arms = np.array([[arm == "B" for arm in order] for order in orders])
        slowed: NDArray[np.float64] = drawn * np.exp(slowdown * arms)
        return slowed

    def draw_repeats_s(self, case: int, processes: int, slowdown: float) -> NDArray[np.float64]:
        """Take the medians of sessions that are in no other part of the suite."""
        picks = self.rng.choice(self.suite.spare, processes, replace=False)
        medians: NDArray[np.float64] = np.median(self.trace.rounds_s[picks, case], axis=-1)
        return medians * np.exp(slowdown)
