"""``sdperf`` with blocks of a fraction of a second, where nobody looks at the figures.

The first argument says whose workers: ``torch`` are the real ones. ``stand-in`` are real processes
without torch, which draw what the revision's subject says; those of ``tune`` are none at all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Run a command of ``sdperf``."""
    from sdperf.ab.turns import bench, case_state
    from sdperf.cli import main as run_command

    case_state.BLOCK_S = 0.1  # type: ignore[misc]
    whose, *arguments = sys.argv[1:]
    if whose == "stand-in":
        from tests.support.ab_standin import staged_stand_in

        bench.staged_harness = staged_stand_in
        _tune_without_workers()
    return run_command(arguments)


def _tune_without_workers() -> None:
    from sdperf.ab.turns import bench
    from sdperf.models import loader
    from sdperf.tune.trial import rig
    from tests.support.ab_fakes import FakeBench
    from tests.support.tune_fakes import ABILITIES, FakeRig
    from tests.support.tune_stories import like

    class Rig(FakeRig):  # type: ignore[misc]
        def __init__(self, model: Any, **_named: Any) -> None:
            super().__init__(noise=like)
            self.model, self.subject = model, None

        def examine(self, _workload: Any) -> Any:
            return ABILITIES

    class Bench(FakeBench):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.behaviours = {"default": {"seconds": 2.0}, "candidate": {"seconds": 1.0}}

        def __enter__(self) -> Bench:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    rig.LiveRig = Rig  # type: ignore[misc]
    if sys.argv[2] == "tune":
        bench.LiveBench = Bench  # type: ignore[misc]
        loader.resolve_model = lambda name: loader.ResolvedModel(
            name, Path.cwd(), "hash", "StableDiffusionPipeline", ()
        )


if __name__ == "__main__":
    sys.exit(main())
