"""A sitting with one model: builds it, lets the sides begin, take turns, and be looked into."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch

from evidence.h200_levers.models import MeasuredModel
from evidence.h200_levers.sides import (
    CACHE_DIT,
    PEERS,
    PLAIN,
    RECIPE,
    Side,
    inductor_as_it_was,
    make_cache_dit,
    make_optimised,
    make_plain,
    make_recipe,
    make_stream,
)
from evidence.h200_levers.turns import summarise, take_turns
from evidence.network_calls.kernels import divide_by_kind, list_kernels
from sdperf.device import Device, select_device
from sdperf.images.comparison import ImageComparison, compare_images
from sdperf.images.cores import map_on_all_cores
from sdperf.images.png import decode_png
from sdperf.measure.clock import monotonic_clock, timed
from sdperf.models.subject import PipelineRequest
from sdperf.pipeline.optimisations.compiling import allow_shapes
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.workload import ImageRequest, Workload
from sdperf.run.worker.counting import count_image, measure_peak
from sdperf.run.worker.profiler import profile_image

_DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_BEGINNING_SHARE: Final = 0.7
"""Of the time, what first calls may take before no further set is begun."""
_LONGEST: Final = 15
_AGAIN_S: Final = 1.0
FIRST_CALL_LIMIT_S: Final = 150
"""A set that takes longer to begin is given up, so that it cannot cost the others their turns."""


class Sitting:
    """One model on one device, measured within a time.

    Args:
        name: The model's name.
        model: The model.
        device: As for ``--sd-device``.
        is_tiny: Whether a tiny one of its class is built instead.
        save: Given everything found so far, after each step.
        first_call_limit_s: How long a side may take to begin.
    """

    def __init__(
        self,
        name: str,
        model: MeasuredModel,
        device: str,
        *,
        is_tiny: bool,
        save: Callable[[dict[str, Any]], None],
        first_call_limit_s: float = FIRST_CALL_LIMIT_S,
    ) -> None:
        self._model = model.shrunk() if is_tiny else model
        self._name = name
        self._save = save
        self._first_call_limit_s = first_call_limit_s
        self.device: Device = select_device(device)
        self.found: dict[str, Any] = {
            "model": name,
            "note": model.note,
            "is_tiny": is_tiny,
            "steps": self._model.steps,
            "guidance": self._model.guidance,
            "size_px": self._model.size,
            "precision": self._model.precision,
            "device": self.device.describe().name,
            "torch": torch.__version__,
            "sides": {},
        }
        built = timed(lambda: self._build(is_tiny), synchronize=self.device.synchronize)
        self._pipeline = built.result
        self.found["build_s"] = round(built.duration_s, 1)
        self._sides: dict[str, Side] = {}
        self._plain_pictures: dict[ImageRequest, bytes] = {}
        self._pairs: dict[str, list[tuple[bytes, bytes]]] = {}

    def measure(
        self,
        seconds: float,
        sets: tuple[str, ...] | None,
        *,
        turns_only: bool = False,
        most_turns: int | None = None,
        peers: tuple[str, ...] = (RECIPE,),
        with_kernels: bool = False,
        with_stream: bool = True,
    ) -> None:
        """Measure plain diffusers, its peers and sets of optimisations.

        Args:
            seconds: For first calls and turns together.
            sets: Names joined by ``+``; ``None`` are the model's own.
            turns_only: Whether stages are left alone.
            most_turns: Turns after which it is enough.
            peers: Of `PEERS`, those that take part.
            with_kernels: Whether a picture of the plain side and of the first set is profiled.
            with_stream: Whether a stream of the first set takes part.
        """
        with _empty_cache():  # the first set's, and shared by those after it
            start_s = monotonic_clock()
            allow_shapes()
            self._begin_all(_BEGINNING_SHARE * seconds, sets, peers, turns_only)
            if with_stream:
                self._begin_stream()
            self._take_turns(max(0.0, seconds - (monotonic_clock() - start_s)), most_turns)
            if not turns_only:
                for side in self._sides.values():
                    self._look_into(side)
            self._compare_pictures()
            self._save(self.found)
            if with_kernels:
                self._list_kernels()

    def _begin_all(
        self, seconds: float, sets: tuple[str, ...] | None, peers: tuple[str, ...], turns_only: bool
    ) -> None:
        """Let the sides begin, the most telling first, as long as there is time for it."""
        start_s = monotonic_clock()
        workload = self._model.workload(self._name)
        self._begin(PLAIN, lambda: make_plain(self._pipeline, workload), is_fresh=False)
        if not turns_only:
            self._count_work()
        first, *others = self._model.sets if sets is None else sets
        self._begin(first, lambda: self._make(first, workload), is_fresh=True)
        makers = {RECIPE: make_recipe, CACHE_DIT: make_cache_dit}
        for peer in peers:
            with inductor_as_it_was(), _empty_cache():
                self._begin(peer, partial(makers[peer], self._pipeline, workload), is_fresh=True)
        for text in others:
            if monotonic_clock() - start_s > seconds:
                self._note_failure(text, "left out: no time was left to begin it")
            else:
                self._begin(text, partial(self._make, text, workload), is_fresh=False)

    def time_first_call(self, text: str) -> dict[str, float]:
        """Time the first and the second call of a set, and nothing else."""
        workload = self._model.workload(self._name)
        allow_shapes()
        side = make_optimised(self._pipeline, workload, text, self.device)
        seconds = [self._time_round(side, turn) for turn in (0, 1)]
        return {"first_call_s": round(seconds[0], 2), "second_call_s": round(seconds[1], 2)}

    def _make(self, text: str, workload: Workload) -> Side:
        return make_optimised(self._pipeline, workload, text, self.device)

    def _build(self, is_tiny: bool) -> Any:
        if is_tiny:
            return self._model.tiny().to(self.device.torch_device)
        dtype = _DTYPES[self._model.precision]
        request = PipelineRequest(cast("Any", None), dtype, self.device.torch_device)
        return self._model.build(request)

    def _begin(self, name: str, make: Callable[[], Side], *, is_fresh: bool) -> None:
        """Make a side and its first picture.

        Args:
            name: What it is called where it cannot be made.
            make: Makes it.
            is_fresh: Whether the compiler's caches are empty, which the record says.
        """
        side_name = name
        try:
            self._free()
            resting = self._live_bytes()
            with _given_up_after(self._first_call_limit_s):
                side = make()
                first_s = self._time_round(side, 0)
            second_s = self._time_round(side, 1)
            side_name = side.name
            self._sides[side_name] = side
            facts = self._note(side_name)
            facts["first_call_s"] = round(first_s, 2)
            facts["second_call_s"] = round(second_s, 3)
            facts["compiler_caches_were_empty"] = is_fresh
            if self.device.kind == "cuda":
                self._free()
                facts["own_gib"] = _gib(self._live_bytes() - resting)
                self.device.reset_peak()
                before = self._live_bytes()
                self._time_round(side, 1)
                facts["working_gib"] = _gib((self.device.peak_bytes() or 0) - before)
            self._keep_picture(side)
        except Exception as error:  # noqa: BLE001  one set's failure may not cost the others
            self._note_failure(name, f"{type(error).__name__}: {error}")
            traceback.print_exc(limit=6)
        print(f"{side_name}: {self.found['sides'].get(side_name, {})}", flush=True)
        self._save(self.found)

    def _begin_stream(self) -> None:
        best = next((one for name, one in self._sides.items() if name not in (PLAIN, *PEERS)), None)
        if best is not None:
            self._begin(f"{best.name}, streamed", lambda: make_stream(best), is_fresh=False)

    def _take_turns(self, seconds: float, most: int | None) -> None:
        rounds: dict[str, list[float]] = {name: [] for name in self._sides}
        broken: dict[str, str] = {}

        def play(side: Side) -> Callable[[int], float]:
            def work(turn: int) -> float:
                try:
                    return self._time_round(side, turn + 2)
                except Exception as error:  # noqa: BLE001  the others go on
                    broken[side.name] = f"{type(error).__name__}: {error}"
                    return float("nan")

            return work

        def note(name: str, side_s: float) -> None:
            rounds[name].append(side_s)

        sides = {name: play(side) for name, side in self._sides.items()}
        take_turns(sides, seconds, note, most=most)
        for name, reason in broken.items():
            self._note_failure(name, f"in its turns: {reason}")
            del self._sides[name], rounds[name]
        if PLAIN not in rounds:
            return
        plain_first_s = self.found["sides"][PLAIN]["first_call_s"]
        for name, side_s in rounds.items():
            facts = self._note(name)
            facts.update(summarise(rounds[PLAIN], side_s, plain_first_s, facts["first_call_s"]))
            facts["rounds_s"] = [round(one, 4) for one in side_s]
        self._save(self.found)

    def _time_round(self, side: Side, turn: int) -> float:
        """Make the pictures of one round; returns seconds per image."""
        count = side.images
        requests = [
            ImageRequest(self._prompt(0 if side.repeats_prompt else turn * count + index), index)
            for index in range(count)
        ]
        interval = timed(lambda: side.generate(requests), synchronize=self.device.synchronize)
        return interval.duration_s / count

    def _prompt(self, index: int) -> str:
        prompts = self._model.workload(self._name).prompts
        return prompts[index % len(prompts)]

    def _keep_picture(self, side: Side) -> None:
        """Keep pictures of a side, and the plain ones of the same prompts and noise."""
        if side.images != 1 or PLAIN not in self._sides:
            return
        pairs = []
        for number in range(self._model.pictures):
            request = ImageRequest(self._prompt(0 if side.repeats_prompt else number + 1), number)
            if request not in self._plain_pictures:
                (self._plain_pictures[request],) = self._sides[PLAIN].generate([request])
            if side.name != PLAIN:
                pairs.append((self._plain_pictures[request], side.generate([request])[0]))
        if pairs:
            self._pairs[side.name] = pairs

    def _compare_pictures(self) -> None:
        """Compare each side's pictures with the plain ones; it takes seconds, after the turns."""

        def compare(pair: tuple[bytes, bytes]) -> ImageComparison:
            return compare_images(decode_png(pair[0]), decode_png(pair[1]))

        for name, pairs in self._pairs.items():
            found = map_on_all_cores(compare, pairs, pixels=self._model.size**2)
            facts = self._note(name)
            facts["ssim"] = round(min(one.ssim for one in found), 5)
            facts["worst_tile_ssim"] = round(min(one.worst_tile.ssim for one in found), 5)
            facts["pictures_compared"] = len(found)

    def _count_work(self) -> None:
        """Count the plain pipeline's operations by stage, and measure the device's peak."""
        if PLAIN not in self._sides:
            return
        stages = self._sides[PLAIN].stages
        peak = measure_peak(self.device, self._model.precision)
        self.found["peak_flop_per_s"] = None if peak is None else peak.flop_per_s
        ahead = TokenizeAhead(stages.pipeline)
        try:
            with ahead, torch.no_grad():
                costs = count_image(stages, ahead, ImageRequest(self._prompt(0), 0))
            self.found["flop"] = {cost.stage: cost.flop for cost in costs}
        except Exception as error:  # noqa: BLE001  the share of the peak is not what all rests on
            self.found["count_failed"] = f"{type(error).__name__}: {error}"
        self._save(self.found)

    def _look_into(self, side: Side) -> None:
        """Time the stages of two pictures; the second counts."""
        if side.images != 1:
            return
        ahead = TokenizeAhead(side.stages.pipeline)
        try:
            with ahead:
                for turn in (3, 4):
                    times = profile_image(
                        side.stages,
                        ahead,
                        ImageRequest(self._prompt(0 if side.repeats_prompt else turn), 0),
                        synchronize=self.device.synchronize,
                        clock=monotonic_clock,
                    )
        except Exception as error:  # noqa: BLE001  seconds of stages are not what all rests on
            self._note(side.name)["stages_failed"] = f"{type(error).__name__}: {error}"
            return
        facts = self._note(side.name)
        names = ("encode_prompt_s", "denoise_s", "decode_latents_s", "whole_s", "deliver_s")
        found = {name: getattr(times, name, None) for name in names}
        facts["stages"] = {name: round(one, 4) for name, one in found.items() if one is not None}
        flop, peak = self.found.get("flop", {}).get("denoise"), self.found.get("peak_flop_per_s")
        if flop and peak and found["denoise_s"]:
            facts["denoise_share_of_peak"] = round(flop / found["denoise_s"] / peak, 3)
        self._save(self.found)

    def _list_kernels(self) -> None:
        """Profile one picture of the first set and of the plain side, kernel by kernel."""
        looked_at = [name for name in self._sides if name not in (PLAIN, *PEERS)][:1]
        looked_at.append(PLAIN)  # the last: its kernels are so many that reading them takes long
        for side in (self._sides[name] for name in looked_at if name in self._sides):
            request = ImageRequest(self._prompt(0 if side.repeats_prompt else 5), 0)
            kernels = list_kernels(partial(side.generate, [request]), calls=1)
            facts = self._note(side.name)
            facts["kernels_ms"] = round(sum(each for _, each in kernels), 2)
            facts["kernels_ms_by_kind"] = divide_by_kind(kernels)
            facts["longest_kernels_ms"] = [
                [name[:120], round(each, 3)] for name, each in kernels[:_LONGEST]
            ]
            self._save(self.found)

    def _note(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.found["sides"].setdefault(name, {})
        return facts

    def _note_failure(self, name: str, reason: str) -> None:
        self._note(name)["failed"] = reason.splitlines()[0][:300] if reason else "no reason given"

    def _live_bytes(self) -> int:
        return self.device.live_bytes() or 0

    def _free(self) -> None:
        gc.collect()
        self.device.empty_cache()


@contextlib.contextmanager
def _given_up_after(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside of what takes longer; on the main thread.

    It is raised again each second, because a compiler that tries kernels takes the first for the
    failure of one kernel and tries the next.
    """

    def give_up(*_: Any) -> None:
        raise TimeoutError(f"given up after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _empty_cache() -> Iterator[None]:
    """Let the compiler find nothing that it made before."""
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    folder = tempfile.mkdtemp(prefix="sdperf-levers-")  # stays: its code is loaded from there
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCHINDUCTOR_CACHE_DIR"]
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


def write_json(path: Path, found: dict[str, Any]) -> None:
    """Write what was found so far in the place of what is there."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _gib(count: int) -> float:
    return round(count / 2**30, 2)
