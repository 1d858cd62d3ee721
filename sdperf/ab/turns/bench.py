"""The bench that measures sides: interpreters, models, machine and random choices."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sdperf.ab.sides.interpreters import Interpreter, examine_interpreter
from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.ab.turns.arms import LifePool, LiveArm
from sdperf.ab.turns.blocks import BlockWatch
from sdperf.ab.turns.residency import fit_together
from sdperf.device import DeviceInfo, DeviceKind
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.environment import collect_environment
from sdperf.measure.fitness.conditions import Conditions
from sdperf.measure.fitness.guard_changes import compare_guards
from sdperf.models.loader import ResolvedModel, find_denoiser_name, resolve_model
from sdperf.models.references import load_references
from sdperf.models.tasks.choosing import find_task_class, settle_workload
from sdperf.pipeline.optimisations.catalogue import refuse_unsuited
from sdperf.record.environment import Environment
from sdperf.record.floors import Floors
from sdperf.record.guard import Guard
from sdperf.record.measurement import GuardPolicy, MemoryUsage
from sdperf.record.workload import Task
from sdperf.run.fitness import check_fit
from sdperf.run.hosts.interpreter import InterpreterHost, Launch, staged_harness
from sdperf.run.machine import LiveMachine, Machine
from sdperf.run.suite import Suite, count_cpu_threads
from sdperf.store.references import locate_references


@dataclass
class LiveBench:
    """This machine. Use it as a context manager, which removes all that it makes.

    Attributes:
        machine: Its guards and probes.
        clock: Returns seconds.
        chance: Makes random choices.
        root: Folder above the calibrated floors.
    """

    machine: Machine = field(default_factory=LiveMachine)
    clock: Clock = monotonic_clock
    chance: random.Random = field(default_factory=random.SystemRandom)
    root: Path = field(default_factory=Path.cwd)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _stage: Path | None = None
    _models: dict[tuple[str, str, Task | None], ResolvedModel] = field(default_factory=dict)
    _interpreters: dict[tuple[Path, tuple[str, ...]], Interpreter] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Stage the worker's modules."""
        self._stage = self._stack.enter_context(staged_harness())
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker and remove the stage."""
        self._stack.close()
        self.machine.close()

    def look_at_rest(self, policy: GuardPolicy) -> None:
        """Read the machine before sdperf's own work on it."""
        if policy != "off":
            self.machine.look_at_rest()

    def look(self, kind: DeviceKind, policy: GuardPolicy) -> tuple[Guard, ...]:
        """Judge the machine before the first timed round.

        Raises:
            UnfitError: A guard fails, and the policy is strict.
        """
        if policy == "off":
            return ()
        guards = self.machine.judge_before(kind)
        check_fit(guards, policy)
        return guards

    def watch_blocks(self, kind: DeviceKind, policy: GuardPolicy) -> BlockWatch | None:
        """Return a watch that reads the machine before and after each block."""
        return None if policy == "off" else GuardedBlocks(lambda: self.machine.read(kind))

    def draw_lot(self) -> bool:
        """Return true or false at random."""
        return self.chance.random() < 0.5

    def make_arm(self, side: Side, case: MatrixCase, *, warmup: int, timeout_s: float) -> LiveArm:
        """Make an arm whose workers run in the side's interpreter, over the side's code."""
        launch = self._launch(side)
        pool = LifePool(host_factory=lambda: InterpreterHost(launch), timeout_s=timeout_s)
        self._stack.callback(pool.close)
        model, workload = self.resolve_model(side), side.workload
        if side.subject is None:
            workload = settle_workload(workload, model.pipeline_class)
        suite = Suite(
            workload=workload,
            left_open=frozenset(side.left_open),
            pictures=side.pictures,
            model=model,
            pool=pool,
            device=side.device,
            subject=side.subject,
            cpu_threads=count_cpu_threads(),
            guards="off",
            machine=self.machine,
        )
        return LiveArm.of_side(suite, pool, side, case, warmup)

    def fit(self, workers: Sequence[MemoryUsage], device: DeviceInfo) -> bool:
        """Tell whether workers with these peaks fit into the memory together."""
        ram_bytes = self.environment(device).ram_bytes
        return fit_together(workers, ram_bytes=ram_bytes, device=device)

    def resolve_model(self, side: Side) -> ResolvedModel:
        """Find a side's model, once; its folder is absolute, for workers in other folders.

        Raises:
            ConfigurationError: Its network cannot have an optimisation that the side names.
            ModelError: There is no such model, or it cannot be used.
        """
        name, picture = side.workload.model, side.workload.picture
        lora, task = side.workload.lora, None if picture is None else picture.task
        if (name, lora, task) not in self._models:
            model = resolve_model(name, lora=lora) if lora else resolve_model(name)
            opened_as = None if task is None else find_task_class(model.pipeline_class, task)
            self._models[name, lora, task] = dataclasses.replace(
                model,
                folder=model.folder.absolute(),
                pipeline_class=opened_as or model.pipeline_class,
            )
        if side.subject is None:
            named = side.variant_changes.get("optimisations") or ()
            refuse_unsuited([named], find_denoiser_name(self._models[name, lora, task]))
        return self._models[name, lora, task]

    def examine(self, side: Side) -> Interpreter:
        """Return a side's interpreter, which is asked once."""
        asked = side.interpreter or Path(sys.executable), _list_outside(side)
        if asked not in self._interpreters:
            self._interpreters[asked] = examine_interpreter(*asked)
        return self._interpreters[asked]

    def find_floors(self, side: Side, precision: str, kind: DeviceKind) -> Floors | None:
        """Return calibrated floors of this kind of device, else those that ship with the model."""
        model, workload = self.resolve_model(side), side.workload
        if side.subject is None:
            workload = settle_workload(workload, model.pipeline_class)
        calibrated = locate_references(self.root, model.model_hash, kind, workload.task)
        for folder in (calibrated, model.folder / "references"):
            references = load_references(folder)
            if references is not None and precision in references.listed.floors:
                return references.listed.floors[precision]
        return None

    def environment(self, device: DeviceInfo) -> Environment:
        """Collect this machine's facts."""
        return collect_environment(
            device_kind=device.kind, device_name=device.name, gpu_cores=device.gpu_cores
        )

    def _launch(self, side: Side) -> Launch:
        assert self._stage is not None, "the bench is a context manager"
        stage = str(self._stage)
        ahead = (*side.code, stage) if side.replaces_sdperf else (stage, *side.code)
        path = side.interpreter or Path(sys.executable)
        return Launch(path, (*ahead, *_list_outside(side)), side.folder)


def _list_outside(side: Side) -> tuple[str, ...]:
    """List the folders that ``PYTHONPATH`` adds to a side in this interpreter."""
    own = os.environ.get("PYTHONPATH", "") if side.interpreter is None else ""
    return tuple(
        entry
        for entry in own.split(os.pathsep)
        if entry and (side.repository is None or not is_below(entry, side.repository))
    )


def is_below(entry: str, folder: Path) -> bool:
    """Tell whether an entry of an import path lies in a folder."""
    return Path(entry).resolve().is_relative_to(folder.resolve())


@dataclass
class GuardedBlocks:
    """Detects blocks in which a guard changed for the worse.

    Attributes:
        read: Reads the machine's condition.
    """

    read: Callable[[], Conditions]
    _before: Conditions | None = None

    def begin(self) -> None:
        """Read the machine."""
        self._before = self.read()

    def end(self) -> str | None:
        """Read the machine again, and say what changed for the worse."""
        if self._before is None:
            return None
        changes = compare_guards(self._before, self.read())
        failed = [guard.sentence for guard in changes if guard.state == "fail"]
        return "; ".join(failed) or None
