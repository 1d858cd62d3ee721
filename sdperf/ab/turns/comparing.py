"""Two sides measured against each other until they decide: the engine of ``sdperf ab``.

For each case, both sides draw every prompt's image. A is compared with itself once (null control).
Then ABBA and BAAB blocks follow until a look decides; after each block both sides run a profiled
round. Then windows are watched, where the machine tells energy. Only one side works at any moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from sdperf.ab.keeping import Keeper, NoKeeper
from sdperf.ab.sides.revisions import refuse_stray_subject
from sdperf.ab.sides.sides import SIDES, MatrixCase, Side, SideError, SideName, describe_case
from sdperf.ab.turns.allowance import ControlAllowance
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.blocks import BlockSeries, judge_null_control, make_null_control
from sdperf.ab.turns.case_state import (
    BlockPlan,
    CaseState,
    choose_lengthening,
    find_energy,
    plan_block,
)
from sdperf.ab.turns.pairing import BlamedArm, Pairing
from sdperf.ab.turns.told import list_side_notes, tell_workload
from sdperf.ab.turns.view import NULL_CONTROL, SilentView, View, make_progress
from sdperf.ab.verdict.comparison import (
    AbComparison,
    Block,
    CaseComparison,
    Compared,
    CompareOptions,
    EnergyPair,
    ProfiledPair,
    SideRecord,
    list_rounds_s,
)
from sdperf.ab.verdict.images import Drawing, Drawn, choose_floors, list_differences, pair_images
from sdperf.device import DeviceInfo
from sdperf.errors import ConfigurationError, SdperfError
from sdperf.images.png import compute_png_sha256
from sdperf.judging.exactness import ARITHMETIC_PACKAGES
from sdperf.record.guard import Guard
from sdperf.record.workload import ProgramFacts
from sdperf.units import format_quantity, format_seconds


def compare(
    a: Side,
    b: Side,
    cases: Sequence[MatrixCase] = (MatrixCase(),),
    options: CompareOptions | None = None,
    *,
    bench: LiveBench | None = None,
    view: View | None = None,
    keeper: Keeper | None = None,
) -> Compared:
    """Measure two sides against each other, case by case.

    Args:
        a: The reference side.
        b: The side that is judged.
        cases: The cases to measure; they share the error.
        options: How the sides are compared.
        bench: Makes arms and knows the machine; ``None`` is this machine. A bench can serve many
            comparisons.
        view: Shows the progress; ``None`` shows nothing.
        keeper: Keeps finished cases on the disk; ``None`` keeps nothing.

    Returns:
        All measurements, for `sdperf.ab.verdict.judging.judge_comparison`. An interrupt (Ctrl-C)
        returns the measurements so far, with ``record.was_interrupted``.

    Raises:
        SideError: A side cannot be loaded or run, or died.
        ConfigurationError: No code of a revision is used, so that both sides are the same.
        UnfitError: The policy is strict, and the machine is not fit.
    """
    with contextlib.ExitStack() as stack:
        stage = bench if bench is not None else stack.enter_context(LiveBench())
        run = _Run(
            a, b, options or CompareOptions(), stage, view or SilentView(), keeper or NoKeeper()
        )
        return run.measure(cases)


@dataclass
class _Run:
    """A running comparison.

    Attributes:
        a: The reference side.
        b: The side that is judged.
        options: How the sides are compared.
        bench: Makes arms and knows the machine.
        view: Shows the progress.
        keeper: Keeps finished cases.
    """

    a: Side
    b: Side
    options: CompareOptions
    bench: LiveBench
    view: View
    keeper: Keeper
    _started_s: float = 0.0
    _series_started_s: float = 0.0
    _b_first: bool = False
    _states: list[CaseState | CaseComparison] = field(default_factory=list)
    _control: BlockSeries | None = None
    _is_uncontrolled: bool = False
    _lengthening: int = 1
    _guards: tuple[Guard, ...] = ()
    _device: DeviceInfo = field(default_factory=lambda: DeviceInfo("cpu", "", (), None, None))
    _modules: dict[SideName, dict[str, str]] = field(default_factory=dict)
    _devices: dict[SideName, str] = field(default_factory=dict)
    _programs: dict[SideName, ProgramFacts | None] = field(default_factory=dict)
    _pngs: dict[str, bytes] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def measure(self, cases: Sequence[MatrixCase]) -> Compared:
        """Measure all cases, or as many as possible until the user ends it."""
        self._started_s = self.bench.clock()
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        given = self.options.b_first
        self._b_first = self.bench.draw_lot() if given is None else given
        a, b = self._describe(self.a, "A"), self._describe(self.b, "B")
        left, pngs = self.keeper.open((a, b), self.options, cases, created)
        kept = {one.case: one for one in left.cases}
        self._pngs |= pngs
        if kept:
            self._notes.append(
                "measured by an earlier process of this comparison, which began "
                f"{left.started_at} and was interrupted: {len(kept)} of "
                f"{format_quantity(len(cases), 'case')}"
            )
        self.bench.look_at_rest(self.options.guards)
        was_interrupted = False
        try:
            for case in cases:
                if case in kept:
                    self._states.append(kept[case])
                elif not self._measure_case(case, self.options.alpha / len(cases)):
                    break
                else:
                    self._keep(self._states[-1])
        except KeyboardInterrupt:
            was_interrupted = True
            self._notes.append("interrupted: this is what there was")
        finally:
            self.view.finish()
        modules = [self._modules.get(name, {}) for name in SIDES]
        if modules[0] and modules[0] == modules[1]:
            self._notes.append("every module that took part is the same in both revisions")
        record = AbComparison(
            created=created,
            options=self.options,
            a=self._complete("A", a, modules[0]),
            b=self._complete("B", b, modules[1]),
            environment=self.bench.environment(self._device),
            cases=tuple(
                one if isinstance(one, CaseComparison) else one.finish() for one in self._states
            ),
            b_first=self._b_first,
            control=left.control if self._control is None else tuple(self._control.blocks),
            guards=self._guards,
            notes=(*self._notes, *list_side_notes({"A": self.a, "B": self.b}, self._programs)),
            was_interrupted=was_interrupted,
            duration_s=self._elapsed_s,
        )
        return Compared(record, self._pngs)

    def _keep(self, state: CaseState | CaseComparison) -> None:
        """Keep a finished case; a case that the user cut short is not kept."""
        if isinstance(state, CaseState):
            case = state.finish()
            control = () if self._control is None else tuple(self._control.blocks)
            hashes = {one.sha256 for pair in case.images for one in (pair.a, pair.b)}
            self.keeper.add(case, control, {sha256: self._pngs[sha256] for sha256 in hashes})

    def _measure_case(self, case: MatrixCase, alpha: float) -> bool:
        """Measure one case; return whether to measure the next one."""
        state = CaseState(case, self.a, self.b, alpha)
        self._states.append(state)
        with contextlib.ExitStack() as stack:
            arms = self._make_arm("A", case), self._make_arm("B", case)
            state.pairing = pairing = Pairing(*arms, self.bench)
            stack.callback(pairing.close)
            self._draw(state, pairing)
            is_settled = self._control is not None or self._is_uncontrolled
            wants_control = self.options.null_control and not is_settled
            if wants_control and not self._hold_against_itself(state, pairing):
                return False
            self._measure_blocks(state, pairing)
            self._draw_fresh(state, pairing)
            self._watch_energy(state, pairing)
        return True

    def _make_arm(self, name: SideName, case: MatrixCase) -> BlamedArm:
        side = self.a if name == "A" else self.b
        options = self.options
        arm = self.bench.make_arm(side, case, warmup=options.warmup, timeout_s=options.timeout_s)
        return BlamedArm(arm, name, side.label, is_revision=side.revision is not None)

    def _draw(self, state: CaseState, pairing: Pairing) -> None:
        """Draw the images of both sides, and learn whether both fit into the memory."""
        case = state.case
        drawn_a = self._draw_side("A", pairing.a, case)
        pairing.make_room()
        drawn_b = self._draw_side("B", pairing.b, case)
        pairing.settle()
        if pairing.alternates:
            state.notes.append(
                "both sides do not fit into memory at once: each load ends the other"
            )
        self._refuse_equal_revisions()
        self._device = pairing.a.describe_device()
        self._guards = self._guards or self.bench.look(self._device.kind, self.options.guards)
        given = self.options.rounds
        image_s = min(image.latency_s for _, image in drawn_a)
        state.plan = plan_block(case, image_s) if given is None else BlockPlan(given)
        state.image_s = None if case.kind == "stage" else image_s
        for _, image in (*drawn_a, *drawn_b):
            self._pngs[compute_png_sha256(image.png)] = image.png
        a, b = (
            Drawing(
                side.workload, self.bench.resolve_model(side).model_hash, side.variant_for(case)
            )
            for side in (self.a, self.b)
        )
        packages = [self.bench.examine(side).packages for side in (self.a, self.b)]
        state.is_same_arithmetic = a.variant == b.variant and all(
            packages[0].get(name) == packages[1].get(name) for name in ARITHMETIC_PACKAGES
        )
        others = {"height", "width", "weights"}
        of_one_size = not others & set(list_differences(a, b))
        state.images = pair_images(drawn_a, drawn_b, of_one_size=of_one_size)
        state.floors, state.unjudged = choose_floors(
            a,
            b,
            self.options,
            lambda precision: self.bench.find_floors(self.a, precision, self._device.kind),
        )

    def _draw_side(self, name: SideName, arm: BlamedArm, case: MatrixCase) -> Drawn:
        self.view.announce(f"{self._title(case)}: loading {name} ({arm.label})")
        arm.load()
        self.view.announce(f"{self._title(case)}: drawing the images of {name} ({arm.label})")
        drawn = arm.draw()
        self._devices[name] = arm.describe_device().kind
        self._programs[name] = arm.describe_program()
        side = self.a if name == "A" else self.b
        if side.code and name not in self._modules:
            self._modules[name] = arm.list_modules()
            refuse_stray_subject(side, name, arm.locate_subject())
        return drawn

    def _refuse_equal_revisions(self) -> None:
        """Refuse two revisions whose code is not used in a generation."""
        if self.a.code == self.b.code or any(self._modules.values()):
            return
        raise ConfigurationError(
            "nothing of this repository takes part in a generation: both sides are the same",
            got="no subject, and no module that a pipeline imports lies in the repository",
            hint="--subject MODULE:FUNCTION names a function of yours that makes the pipeline",
        )

    def _hold_against_itself(self, state: CaseState, pairing: Pairing) -> bool:
        """Measure A against A, where there is time for it; return whether the machine is fit."""
        image_s = state.image_s
        allowed = ControlAllowance(
            self.options.budget_s,
            self._elapsed_s,
            None if image_s is None else image_s * state.case.batch,
            state.plan,
        )
        left_out = allowed.explain_left_out()
        if left_out is not None:
            self.view.announce(left_out)
            self._notes.append(left_out)
            self._is_uncontrolled = True
            return True
        other = self._make_arm("A", state.case)
        pairing.admit(other)
        self._control = series = make_null_control(
            pairing.a,
            other,
            limit_log=self._limit_log,
            rounds=state.plan.rounds,
            cycles=state.plan.cycles,
            clock=self.bench.clock,
            watch=self.bench.watch_blocks(self._device.kind, self.options.guards),
        )
        self._begin("null control: A against itself")

        def may_go_on() -> bool:
            return self._elapsed_s <= allowed.ends_at_s and self._may_go_on(series)

        series.measure(may_go_on, lambda _: self._show(NULL_CONTROL, series))
        pairing.dismiss()
        is_sound = judge_null_control(series.contrasts, self._limit_log)
        if is_sound is None:
            why = self._explain_stop(series) or "half of the time that was left was over"
            self._notes.append(f"no null control: {why}")
        elif self.options.rounds is None:
            self._lengthening = choose_lengthening(series.contrasts, self._limit_log)
        if self._lengthening > 1:
            self._notes.append(
                f"the null control was noisy: blocks are {self._lengthening} times as long"
            )
        return is_sound is not False

    def _measure_blocks(self, state: CaseState, pairing: Pairing) -> None:
        state.series = series = BlockSeries(
            pairing.a,
            pairing.b,
            self._limit_log,
            state.alpha,
            self.options.looks,
            self._b_first,
            rounds=state.plan.rounds,
            cycles=state.plan.cycles * self._lengthening,
            is_two_sided=self.options.is_two_sided,
            clock=self.bench.clock,
            watch=self.bench.watch_blocks(self._device.kind, self.options.guards),
        )
        self._begin(f"{self._title(state.case)}: {self.a.label} against {self.b.label}")
        takes_stages = self.options.stages and state.case.kind != "stage"

        def follow(block: Block) -> None:
            nonlocal takes_stages
            if block.discarded is None and takes_stages:
                takes_stages = self._profile(state, pairing, block)
            self._show(self._title(state.case), series)

        series.measure(functools.partial(self._may_go_on, series), follow)
        if self.options.is_timed and not series.is_decided:
            state.notes.append(
                f"stopped after {format_quantity(len(series.contrasts), 'block')}: "
                f"{self._explain_stop(series)}"
            )

    def _profile(self, state: CaseState, pairing: Pairing, block: Block) -> bool:
        """Profile an image of each side, in the order in which the block began."""
        order = block.order[:2]
        stages = {name: (pairing.a if name == "A" else pairing.b).profile() for name in order}
        a, b = stages["A"], stages["B"]
        if a is None or b is None:
            state.notes.append("no stage times: a pipeline cannot be profiled")
            return False
        state.profiles.append(ProfiledPair(order, a, b))
        return True

    def _draw_fresh(self, state: CaseState, pairing: Pairing) -> None:
        """Let both sides draw fresh requests, which no cache can answer."""
        for name in SIDES:
            rounds_s = [] if state.series is None else list_rounds_s(state.series.blocks, name)
            if rounds_s:
                arm = pairing.a if name == "A" else pairing.b
                state.fresh[name] = arm.draw_fresh(statistics.median(rounds_s))

    def _watch_energy(self, state: CaseState, pairing: Pairing) -> None:
        """Watch windows in mirrored order, if the first window shows that energy is known."""
        if state.series is None or not state.series.contrasts:
            return
        self.view.announce(f"{self._title(state.case)}: looking for energy")
        found: dict[str, list[float]] = {"A": [], "B": []}
        scopes = set()
        for name in "ABBA":
            reading = find_energy((pairing.a if name == "A" else pairing.b).watch())
            if reading is None:
                return
            scopes.add(reading[0])
            found[name].append(reading[1])
        if len(scopes) == 1:
            state.energy = EnergyPair(scopes.pop(), tuple(found["A"]), tuple(found["B"]))

    def _describe(self, side: Side, name: SideName) -> SideRecord:
        try:
            interpreter, model = self.bench.examine(side), self.bench.resolve_model(side)
        except SdperfError as error:
            raise SideError(name, side.label, error) from error
        return SideRecord(
            label=side.label,
            python=interpreter.version,
            packages=interpreter.packages,
            workload=side.workload,
            model_hash=model.model_hash,
            device=side.device,
            subject=side.subject,
            revision=side.revision,
        )

    def _complete(self, name: SideName, side: SideRecord, modules: dict[str, str]) -> SideRecord:
        """Add the facts that are known once the side has drawn."""
        return dataclasses.replace(
            side,
            modules=modules,
            device=self._devices.get(name, side.device),
            workload=tell_workload(self.a if name == "A" else self.b, self._programs.get(name)),
            program=self._programs.get(name),
        )

    def _title(self, case: MatrixCase) -> str:
        return describe_case(case, self.a.variant_for(case), self.b.variant_for(case))

    def _begin(self, what: str) -> None:
        self._series_started_s = self.bench.clock()
        self.view.announce(what)

    def _show(self, what: str, series: BlockSeries) -> None:
        series_s = self.bench.clock() - self._series_started_s
        progress = make_progress(what, series, elapsed_s=self._elapsed_s, series_s=series_s)
        self.view.show(progress)

    def _may_go_on(self, series: BlockSeries) -> bool:
        return self._explain_stop(series) is None

    def _explain_stop(self, series: BlockSeries) -> str | None:
        """Say why no further block may begin; ``None`` where one may."""
        discarded = [block.discarded for block in series.blocks if block.discarded is not None]
        if len(discarded) > self.options.discards:
            if len(discarded) == 1:
                return f"1 block was disturbed, because {discarded[0]}"
            return f"{len(discarded)} blocks were disturbed, the last because {discarded[-1]}"
        budget_s = self.options.budget_s
        if budget_s is not None and self._elapsed_s > budget_s:
            return f"the time given is over ({format_seconds(budget_s)})"
        return None

    @property
    def _limit_log(self) -> float:
        return math.log1p(self.options.max_slowdown)

    @property
    def _elapsed_s(self) -> float:
        return self.bench.clock() - self._started_s
