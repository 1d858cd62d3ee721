"""Sweeps over planted versions, without any pipeline."""

from dataclasses import dataclass, field

from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.sweep.plan import SweepPlan, choose_every
from sdperf.sweep.state import SweepFolder, SweepQuestion
from sdperf.sweep.summary import SweepContext, summarise_sweep
from sdperf.sweep.sweeping import Sweep
from tests.support.bisecting import LATENCY, WORKLOAD
from tests.support.measurements import measurement


def name_versions(count):
    return tuple(f"planted=={number}.0" for number in range(1, count + 1))


def sweep_question(steps, *, every=1, anchor=None, is_dense=False, **changes):
    values = {
        "kind": "packages",
        "about": "planted",
        "plan": SweepPlan(tuple(steps), choose_every(steps, every, anchor), anchor, is_dense),
        "workload": WORKLOAD,
        "subject": "mine:make",
        "device": "cpu",
        "cases": (LATENCY,),
        "options": CompareOptions(),
    }
    return SweepQuestion(**{**values, **changes})


@dataclass
class SweepListener:
    """Remembers what was told."""

    begun: list = field(default_factory=list)
    ended: list = field(default_factory=list)

    def begin(self, pair, number, left):
        self.begun.append((pair, number, left))

    def end(self, record):
        self.ended.append(record)


def run_sweep(folder, asked, machine, **changes):
    """Sweep once, keeping what is found below a folder."""
    kept = SweepFolder(folder / "sweep", asked.key())
    return Sweep(asked, machine, kept, changes.pop("teller", SweepListener()), **changes).run()


def summarise(conclusion, **changes):
    """Summarise a sweep of planted versions, which are named by their versions."""
    steps = conclusion.state.question.plan.steps
    values = {
        "names": {step: step.partition("==")[2] or step for step in steps},
        "titles": {},
        "environment": measurement().environment,
        "model_hash": "a" * 64,
        "command": "sdperf sweep --python-package planted",
        "version": "0",
    }
    return summarise_sweep(conclusion, SweepContext(**{**values, **changes}))
