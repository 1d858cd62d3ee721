"""The machine of a run, seen from the test process: its condition, and probes that watch it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sdperf.device import DeviceKind
from sdperf.measure.fitness.conditions import Conditions, read_conditions
from sdperf.measure.fitness.guards import judge_guards
from sdperf.measure.resources.host import HostProbe
from sdperf.measure.resources.inventory import open_probes
from sdperf.measure.resources.nvidia import NvmlGpu, open_nvml
from sdperf.measure.resources.probe import Missing, Probe
from sdperf.measure.resources.sampler import DEFAULT_INTERVAL_S, Sampler
from sdperf.measure.system import LIVE_SYSTEM, System
from sdperf.record.guard import Guard

AT_REST_ONLY: Final = frozenset({"load", "other GPU users", "background work", "GPU clocks"})
"""Guards that sdperf's own work changes: they are judged only before the first worker starts."""


class Machine(Protocol):
    """The parts of the machine that a case uses."""

    def look_at_rest(self) -> None:
        """Read the machine's condition before sdperf's own work; only the first reading counts."""

    def judge_at_rest(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the reading before sdperf's own work; nothing is read for it."""

    def judge_before(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the machine right before rounds."""

    def judge_after(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the guards that are meaningful right after rounds."""

    def read(self, device_kind: DeviceKind) -> Conditions:
        """Read the condition between two rounds, quickly."""

    def watch(self, apart: frozenset[int] = frozenset()) -> Sampler:
        """Return a sampler over all probes, not yet started.

        Args:
            apart: Processes of sdperf that do not belong to the watched work.
        """

    def close(self) -> None:
        """Close the probes."""


@dataclass
class LiveMachine:
    """This machine.

    Attributes:
        system: The source of the machine's facts.
        find_probes: Opens the probes that watch resources.
        interval_s: Seconds between samples.
    """

    system: System = LIVE_SYSTEM
    find_probes: Callable[[System], Sequence[Probe]] = open_probes
    interval_s: float = DEFAULT_INTERVAL_S
    _at_rest: Conditions | None = None
    _gpu: NvmlGpu | Missing | None = None
    _probes: Sequence[Probe] | None = field(default=None)

    def look_at_rest(self) -> None:
        """Read everything; guards that need a machine at rest use this reading from now on."""
        if self._at_rest is None:
            guess: DeviceKind = "mps" if self.system.platform == "darwin" else "cpu"
            self._at_rest = self._read(guess, thorough=True)

    def judge_at_rest(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the reading before sdperf's own work; empty where there is none."""
        if self._at_rest is None:
            return ()
        return judge_guards(dataclasses.replace(self._at_rest, device_kind=device_kind))

    def judge_before(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the machine now; guards that need rest use the first reading."""
        self.look_at_rest()
        now = judge_guards(self.read(device_kind))
        if self._at_rest is None:
            return now
        then = {
            guard.name: guard
            for guard in judge_guards(dataclasses.replace(self._at_rest, device_kind=device_kind))
        }
        return tuple(
            then.get(guard.name, guard) if guard.name in AT_REST_ONLY else guard for guard in now
        )

    def judge_after(self, device_kind: DeviceKind) -> tuple[Guard, ...]:
        """Judge the machine now, without the guards that need a machine at rest."""
        guards = judge_guards(self.read(device_kind))
        return tuple(guard for guard in guards if guard.name not in AT_REST_ONLY)

    def read(self, device_kind: DeviceKind) -> Conditions:
        """Read the values that can change while a round runs."""
        return self._read(device_kind, thorough=False)

    def watch(self, apart: frozenset[int] = frozenset()) -> Sampler:
        """Return a sampler over this machine's probes, which stay open until `close`."""
        if self._probes is None:
            self._probes = self.find_probes(self.system)
        for probe in self._probes:
            if isinstance(probe, HostProbe):
                probe.apart = apart
        return Sampler(self._probes, interval_s=self.interval_s)

    def close(self) -> None:
        """Close the probes and the board; both are opened again when asked for."""
        for probe in self._probes or ():
            probe.close()
        if isinstance(self._gpu, NvmlGpu):
            self._gpu.close()
        self._probes = self._gpu = None

    def _read(self, device_kind: DeviceKind, *, thorough: bool) -> Conditions:
        if self._gpu is None:
            self._gpu = open_nvml(self.system.environ.get("CUDA_VISIBLE_DEVICES"))
        gpu = None if isinstance(self._gpu, Missing) else self._gpu
        return read_conditions(device_kind, system=self.system, gpu=gpu, thorough=thorough)
