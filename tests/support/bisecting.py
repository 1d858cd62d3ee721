"""A machine on which steps are what they are said to be: comparisons without any pipeline."""

import math
import random
from dataclasses import dataclass, field

from sdperf.ab.sides.sides import MatrixCase, SideError
from sdperf.ab.turns.blocks import CONTROL_BLOCKS, RENEW_EVERY
from sdperf.ab.verdict.comparison import (
    AbComparison,
    Block,
    CaseComparison,
    Compared,
    CompareOptions,
    ImagePair,
    SideMemory,
    SideRecord,
    SideTurn,
)
from sdperf.ab.verdict.images import AGAINST
from sdperf.bisect.search import make_chain
from sdperf.bisect.state import BisectQuestion
from sdperf.errors import ConfigurationError, PackageError
from sdperf.judging.floors import SAME_PATH_FLOORS
from sdperf.record.measurement import MemoryUsage
from sdperf.record.workload import Workload
from sdperf.stats.paired import Decision, choose_block_order, decide_by_blocks
from tests.support.measurements import image, measurement, scores

WORKLOAD = Workload("embedded", ("red apple",), 4, 3.0)
LATENCY = MatrixCase()


@dataclass(frozen=True)
class Planted:
    """What a step is like, as against the good end.

    Attributes:
        slowdown: As a fraction.
        image: Whether its image is another one.
        grown_mib: Growth of peak memory, MiB.
        refuses: Whether it cannot be measured.
    """

    slowdown: float = 0.0
    image: bool = False
    grown_mib: int = 0
    refuses: bool = False


class Machine:
    """Compares planted steps, with noise from a seed, as `sdperf.ab.turns.comparing.compare`
    would."""

    def __init__(self, steps, *, noise=0.004, seed=0, interrupt_at=None, own=None, recorded=()):
        self.steps = {"good": Planted(), **steps}
        self.noise = noise
        self.random = random.Random(seed)
        self.calls = []
        self.interrupt_at = interrupt_at
        self.own = own or {}
        self.recorded = recorded
        self.drifts = False

    def compare(self, base, step, cases, options):
        self.calls.append((base, step, tuple(case.id for case in cases), options))
        if self.interrupt_at == len(self.calls):
            return Compared(self._record(base, step, (), options, was_interrupted=True), {})
        for side, name in (("A", base), ("B", step)):
            if self.steps[name].refuses:
                raise SideError(side, name, ConfigurationError("the subject does not import"))
        done = tuple(
            self._case(case, base, step, options, options.alpha / len(cases)) for case in cases
        )
        return Compared(self._record(base, step, done, options), {"f" * 64: b"png"})

    def _case(self, case, base, step, options, alpha):
        good, now = (self._planted(case, name) for name in (base, step))
        true = math.log1p(now.slowdown) - math.log1p(good.slowdown)
        blocks = []
        while options.budget_s != 0 and self._decide(blocks, options, alpha) is Decision.CONTINUE:
            blocks.append(self._block(len(blocks), true))
        return CaseComparison(
            case=case,
            variant_a=case.variant,
            variant_b=case.variant,
            alpha=alpha,
            blocks=tuple(blocks),
            memory_a=_memory(good),
            memory_b=_memory(now),
            images=(_draw_pair(good, now),),
            floors=SAME_PATH_FLOORS,
        )

    def _planted(self, case, name):
        return self.own.get((case.id, name), self.steps[name])

    def _decide(self, blocks, options, alpha):
        return decide_by_blocks(
            [block.contrast for block in blocks],
            math.log1p(options.max_slowdown),
            alpha=alpha,
            looks=options.looks,
            is_two_sided=options.is_two_sided,
        ).decision

    def _block(self, number, true):
        order = choose_block_order(number)
        shift = true + self._draw_noise(number)
        return Block(
            order,
            tuple(
                SideTurn(side, 0.0, (math.exp(shift if side == "B" else 0.0),)) for side in order
            ),
        )

    def _draw_noise(self, number):
        """Draw a block's noise: from a normal distribution, or three in a row as recorded."""
        if not self.recorded:
            return self.random.gauss(0, self.noise)
        if number % RENEW_EVERY == 0:
            self.life = self.random.choice(self.recorded)
            self.sign = self.random.choice((-1, 1))
        return self.sign * self.life[number % RENEW_EVERY]

    def _record(self, base, step, cases, options, **changes):
        count = CONTROL_BLOCKS if self.drifts and options.null_control else 0
        control = tuple(self._block(number, 0.2) for number in range(count))
        return AbComparison(
            created="2026-11-24T10:00:00Z",
            options=options,
            a=side(base),
            b=side(step),
            environment=measurement().environment,
            cases=cases,
            b_first=False,
            control=control,
            **changes,
        )


@dataclass
class Listener:
    """Remembers what was told."""

    begun: list = field(default_factory=list)
    ended: list = field(default_factory=list)

    def begin(self, what, step, standing):
        self.begun.append((what, step, len(standing.suspects)))

    def end(self, record):
        self.ended.append((record.step, record.answer))


def question(history=None, **changes):
    values = {
        "kind": "revisions",
        "good": "good",
        "history": history or make_chain([f"c{index:02}" for index in range(16)]),
        "aspects": ("speed", "image", "memory"),
        "workload": WORKLOAD,
        "subject": "mine:make",
        "device": "cpu",
        "cases": (LATENCY,),
        "options": CompareOptions(),
    }
    return BisectQuestion(**{**values, **changes})


def plant(asked, culprit, effect, before=None):
    """Give each step of a question its effect: what contains the culprit has it."""
    history = asked.history
    place = history.steps.index(culprit)
    return {
        step: effect if history.reach[index] >> place & 1 else before or Planted()
        for index, step in enumerate(history.steps)
    }


def packages_missing(name):
    return PackageError(f"there is no {name}")


def side(name):
    return SideRecord(name, "3.11.9", {"torch": "2.13.0"}, WORKLOAD, "a" * 64, "cpu")


def _draw_pair(good, now):
    names = [("b" if planted.image else "a") * 64 for planted in (good, now)]
    ssim = 1.0 if good.image == now.image else 0.71
    score = scores(AGAINST, ssim=ssim, tile=ssim, sha256=names[0])
    return ImagePair(image(sha256=names[0], scores=()), image(sha256=names[1], scores=(score,)))


def _memory(planted):
    rss_bytes = (512 + planted.grown_mib) * 2**20
    return SideMemory((MemoryUsage(peak_rss_bytes=rss_bytes),) * 2)
