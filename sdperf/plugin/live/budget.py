"""Tells what a session costs, before and after its first image, and keeps its time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sdperf.plugin.live.ahead import SOAKED
from sdperf.plugin.live.cost import (
    Amounts,
    Priced,
    ReferencePrice,
    choose_cases,
    count_images,
    count_once,
    count_references,
    describe_left_out,
    estimate_cost,
    list_rounds,
)
from sdperf.record.workload import TORCH
from sdperf.settings import BUDGET
from sdperf.settings.kinds import format_duration
from sdperf.units import format_quantity, format_seconds

if TYPE_CHECKING:
    from sdperf.plugin.live.ahead import ExpectedWork
    from sdperf.plugin.live.suites import SessionSuites
    from sdperf.record.measurement import Measurement
    from sdperf.record.workload import Variant

_LONG_S: Final = 600.0
"""Above this forecast a session without a budget is told of one, seconds."""


@dataclass
class SessionBudget:
    """Tells what a session costs and, with a budget, which cases fit into the time.

    The first case is always measured, since it tells what the others take. It gets fewer rounds
    where its first image shows that the session would take too long.

    Attributes:
        suites: The session's plan, its settings, and what is skipped.
        clock: Returns seconds.
        rounds: Number of timed rounds of a latency case, which a budget may reduce.
        skipped: Ids of the tests that are skipped whatever the time, known with the cost.
    """

    suites: SessionSuites
    clock: Callable[[], float] = field(default_factory=lambda: time.monotonic)
    rounds: int = field(init=False)
    skipped: frozenset[str] = frozenset()
    _started_s: float = field(init=False)
    _images: int = 0
    _has_told_pace: bool = False
    _is_timed: bool = False
    _image_s: dict[tuple[object, ...], float] = field(default_factory=dict)
    _load_s: dict[tuple[object, ...], float] = field(default_factory=dict)
    _workers: dict[tuple[object, ...], int] = field(default_factory=dict)
    _recorded: set[tuple[str, str]] = field(default_factory=set)
    _has_chosen: bool = False

    def __post_init__(self) -> None:
        self.rounds = self.suites.settings.rounds
        self._started_s = self.clock()

    def tell_cost(self) -> None:
        """Say, before anything is drawn, how much the session will draw."""
        if self._images:
            return
        suites = self.suites
        loads = suites.count_loads()
        references = count_references(suites.plan, suites.own().planned.pictures, suites.is_skipped)
        asked = [one for one in suites.plan.tests if self._is_run(one)]
        ids = {one.node_id for one in asked}
        self.skipped = frozenset(one.node_id for one in suites.plan.tests if one.node_id not in ids)
        cost = estimate_cost(asked, self._amounts(), loads=loads, references=references)
        self._images = max(1, cost.images)
        self._is_timed = any(one.is_timed for one in asked)
        if self._is_timed:
            suites.live_line.tell(
                f"{cost.describe()}; how long that takes is said after the first one"
            )
            return
        untimed = f"; no case is timed, so {BUDGET} leaves none out"
        suites.live_line.tell(
            f"{cost.describe()}{'' if suites.settings.budget_s is None else untimed}"
        )

    def note_first_image(
        self, seconds: float, list_causes: Callable[[], Sequence[str]] = tuple
    ) -> None:
        """Say how long the session takes, after its first image, and what may slow it down.

        Args:
            seconds: Seconds of the image, but not of a first call, which also prepares much else.
            list_causes: Lists what about the machine may slow it down, a sentence each.
        """
        if self._has_told_pace or not self._images:
            return
        self._has_told_pace = True
        drawing_s = seconds * self._images
        in_all = format_seconds(drawing_s)
        self.suites.live_line.tell(
            f"the first image took {format_seconds(seconds)}: at that pace drawing takes {in_all}, "
            "and loading, watching and scoring come on top"
        )
        for cause in list_causes():
            self.suites.live_line.tell(cause)
        if drawing_s > _LONG_S and self._is_timed and self.suites.settings.budget_s is None:
            self.suites.live_line.tell(
                f"{BUDGET} 10m ends the session after about ten minutes, with its most telling "
                "cases"
            )

    @property
    def is_first(self) -> bool:
        """Whether there is a budget, and the seconds of an image are still unknown."""
        return self.suites.settings.budget_s is not None and not self._image_s

    def bound_first(self, node_id: str, variant: Variant, image_s: float) -> int:
        """Return the rounds of the session's first case, by what its first image took.

        Args:
            node_id: The case.
            variant: Its variant.
            image_s: Seconds of its first image.
        """
        budget_s = self.suites.settings.budget_s
        if budget_s is None:
            return self.rounds
        left_s, pipeline = self._left_s(budget_s), variant.pipeline
        self._image_s[pipeline] = image_s
        self._load_s[pipeline] = max(0.0, budget_s - left_s - image_s)
        self._workers[pipeline] = variant.workers
        left = self._list_left(node_id)
        self._choose_rounds(left, left_s)
        (first,) = self._price([one for one in left if one.node_id == node_id])
        rounds, takes_s = self.rounds, first.images_s + first.once_s
        for kept in (self._image_s, self._load_s, self._workers):
            kept.clear()
        self.rounds = self.suites.settings.rounds
        if takes_s > left_s:
            self.suites.live_line.tell(
                f"{BUDGET} {format_duration(budget_s)}: the first case alone takes "
                f"{format_seconds(takes_s)} in {format_quantity(rounds, 'round')}, and "
                + (f"there are {format_seconds(left_s)} left" if left_s > 0 else "none is left")
            )
        elif rounds < self.rounds:
            self.suites.live_line.tell(
                f"{BUDGET} {format_duration(budget_s)}: {format_quantity(rounds, 'round')} of "
                "the first case"
            )
        return rounds

    def note(self, measurement: Measurement) -> None:
        """Remember the seconds of an image and of a load of a pipeline."""
        if measurement.stage is None:
            pipeline, workers = measurement.variant.pipeline, measurement.variant.workers
            self._workers[pipeline] = max(workers, self._workers.get(pipeline, 0))
            self._image_s[pipeline] = measurement.seconds_per_image
            loading_s = (measurement.load_s or 0.0) + (measurement.first_call_s or 0.0)
            self._load_s[pipeline] = loading_s

    def explain(self, node_id: str) -> str | None:
        """Say why there is no time for a case; ``None`` where there is.

        What is left is divided again before each case, by what similar cases took so far.

        Args:
            node_id: The case.
        """
        budget_s = self.suites.settings.budget_s
        if budget_s is None or not self._image_s:
            return None
        left = self._list_left(node_id)
        if not any(one.node_id == node_id for one in left):
            return None  # kept from an earlier process, or skipped for another reason
        if not self._has_chosen:
            self._choose_rounds(left, self._left_s(budget_s))
        chosen = self._choose(left, self._left_s(budget_s))
        self.suites.plan_references([one for one in left if one.node_id in chosen])
        if not self._has_chosen:
            self._has_chosen = True
            self._tell_choice(left, chosen, budget_s)
        if node_id in chosen:
            self._recorded |= {
                (one.variant.precision, one.variant.engine)
                for one in left
                if one.node_id == node_id and one.wants_recording()
            }
            return None
        return f"left out to end in {format_duration(budget_s)} ({BUDGET})"

    def _left_s(self, budget_s: float) -> float:
        return budget_s - (self.clock() - self._started_s)

    def _list_left(self, node_id: str) -> list[ExpectedWork]:
        """List the tests from this one on that are not skipped for another reason."""
        ids = [one.node_id for one in self.suites.plan.tests]
        first = ids.index(node_id) if node_id in ids else len(ids)
        return [one for one in self.suites.plan.tests[first:] if self._is_run(one)]

    def _is_run(self, wanted: ExpectedWork) -> bool:
        """Tell whether a test will not be skipped for another reason than the budget."""
        settings = self.suites.settings
        if wanted.is_skipped or (wanted.asks == SOAKED and settings.soak_s is None):
            return False
        is_unasked = wanted.has_plain_side and settings.optimisations is None
        if is_unasked and "throughput" in wanted.asks:
            return False
        return not self.suites.is_skipped(wanted.variant)

    def _choose_rounds(self, left: list[ExpectedWork], left_s: float) -> None:
        """Take the most rounds with which all cases fit, else the fewest rounds."""
        for rounds in list_rounds(self.rounds):
            self.rounds = rounds
            if len(self._choose(left, left_s)) == len(left):
                return

    def _choose(self, left: list[ExpectedWork], left_s: float) -> frozenset[str]:
        reference = (self.suites.reference_precision(), TORCH, ())
        price = ReferencePrice(
            self._guess(self._image_s, reference),
            self._guess(self._load_s, reference),
            self.suites.count_drawn(),
            frozenset(self._recorded),
        )
        return choose_cases(self._price(left), left_s, self._workers, price)

    def _tell_choice(
        self, left: list[ExpectedWork], chosen: frozenset[str], budget_s: float
    ) -> None:
        out = [one for one in left if one.node_id not in chosen]
        fewer = self.rounds < self.suites.settings.rounds
        rounds = f", {format_quantity(self.rounds, 'round')} of one image each" if fewer else ""
        words = f"; left out unless time remains: {describe_left_out(out)}" if out else ""
        cases = "1 case that is" if len(left) == 1 else f"{len(left)} cases that are"
        self.suites.live_line.tell(
            f"{BUDGET} {format_duration(budget_s)}: {len(chosen)} of the {cases} left"
            f"{rounds}{words}"
        )

    def _price(self, tests: list[ExpectedWork]) -> list[Priced]:
        amounts, reference = self._amounts(), self.suites.reference_precision()
        soak_s = self.suites.settings.soak_s or 0.0
        priced = []
        for one in tests:
            image_s = self._guess(self._image_s, one.pipeline)
            images = count_images(one, amounts)
            once = count_once(amounts, is_known=self._has_chosen and one.pipeline in self._image_s)
            priced.append(
                Priced(
                    one,
                    soak_s if one.asks == SOAKED else images * image_s,
                    self._guess(self._load_s, one.pipeline),
                    once * image_s,
                    one.count_pictures(amounts.images, amounts.quality_images, reference),
                    one.is_plain(reference),
                )
            )
        return priced

    @staticmethod
    def _guess(known_s: dict[tuple[object, ...], float], pipeline: tuple[object, ...]) -> float:
        """Return the seconds of a pipeline, else those of the last measured pipeline."""
        return known_s.get(pipeline, next(reversed(known_s.values())))

    def _amounts(self) -> Amounts:
        from sdperf.run.quality.bench import FEWEST_IMAGES

        settings = self.suites.settings
        return Amounts(
            rounds=self.rounds,
            batch_rounds=settings.batch_rounds,
            images=settings.images,
            quality_images=max(FEWEST_IMAGES, settings.images),
            warmup=settings.warmup,
            processes=settings.processes,
            is_watched=not settings.unwatched,
        )
