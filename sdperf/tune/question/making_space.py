"""Chooses the settings that are worth a search on this device and pipeline. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdperf import settings
from sdperf.device import DeviceInfo
from sdperf.engines.catalogue import ENGINES
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import (
    DIFFUSERS_CACHES,
    OPTIMISATIONS,
    PLAIN,
    QUANTISATIONS,
    find_c_library,
    find_conflict,
    list_of_torch,
    parse_named_optimisations,
    sort_names,
)
from sdperf.record.workload import MODES, PRECISIONS, TORCH, Precision, Workload
from sdperf.run.memory import WEIGHT_BYTES, Room
from sdperf.settings.kinds import AUTO, Kind, choice
from sdperf.tune.question.setting import BATCHES, TrialSetting, runs_on, take_guidance
from sdperf.tune.question.space import (
    BATCH,
    OWN_SCHEDULER,
    PLAIN_KEYS,
    Choice,
    NameDimension,
    NumberDimension,
    Space,
    choose_plain_keys,
)

SEARCHED_SCHEDULERS: Final = (
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "EulerDiscreteScheduler",
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "HeunDiscreteScheduler",
    "PNDMScheduler",
)
"""Schedulers of diffusers that add no noise, so that images can be compared with a reference."""

NOT_SEARCHED: Final = {
    "embed_cache": "prompts come again in every round, which would flatter it",
    "text_graphs": "cuda_graphs records the same and more",
    "kept_code": "it makes first calls shorter, which no trial counts",
    **dict.fromkeys(
        ("flash_attention3", "sage_attention"), "each needs a package that has to be built"
    ),
    **dict.fromkeys(
        DIFFUSERS_CACHES, "what it saves depends on the picture, and it fits some networks only"
    ),
    **dict.fromkeys(QUANTISATIONS, "each needs a package of its own, and compiled code to pay"),
}
"""Optimisations that a search leaves out unless the user names them, each with the reason.
Optimisations with a long first call are left out too."""

FEWEST_STEPS_SHARE: Final = 0.2
GUIDANCE_STEP: Final = 0.5
WORKERS: Final = (1, 2, 4)

KEYS: Final = (*PLAIN_KEYS, settings.OPTIMISATIONS.name)
"""The keys that can be searched or fixed, as they are typed."""


@dataclass(frozen=True)
class Abilities:
    """The abilities of a device and pipeline, which decide the settings that can be tried.

    Attributes:
        device: The device's kind and native precisions.
        family: The pipeline's family, ``whole`` where it cannot be divided.
        schedulers: Scheduler classes that suit the pipeline, its own first.
        cpu_threads: How many threads workers share.
        weights: How many weights the pipeline has; ``None`` is unknown.
        room: Memory that workers share; ``None`` is unknown.
        engines: The engines that ``auto`` takes: installed and native here, torch first.
        denoiser: Class of the network that denoises; ``None`` is unknown.
        bound_to_torch: Why no other engine can run the pipeline; ``None`` where one may.
    """

    device: DeviceInfo
    family: str
    schedulers: tuple[str, ...]
    cpu_threads: int
    weights: int | None = None
    room: Room | None = None
    engines: tuple[str, ...] = (TORCH,)
    bound_to_torch: str | None = None
    denoiser: str | None = None

    def fits(self, precision: Precision, workers: int = 1) -> bool:
        """Tell whether the memory holds the weights of several workers; yes where unknown."""
        if self.weights is None or self.room is None:
            return True
        return self.room.holds([self.weights * WEIGHT_BYTES[precision]] * workers)


def make_space(
    workload: Workload,
    default: TrialSetting,
    abilities: Abilities,
    asked: Mapping[str, Sequence[str]] | None = None,
) -> Space:
    """Make the space of a device and a pipeline.

    Args:
        workload: The workload at full steps, with one prompt per image of a round.
        default: The setting that a winner has to beat; it is always part of the space.
        abilities: The abilities of the device and pipeline.
        asked: The choices that a user typed in place of the automatic ones, by key of `KEYS`.

    Raises:
        ConfigurationError: A key or a choice cannot be used here.
    """
    asked = asked or {}
    unknown = sorted(set(asked) - set(KEYS))
    if unknown:
        raise ConfigurationError(
            "this cannot be searched", got=unknown[0], expected=", ".join(KEYS)
        )
    images = len(workload.prompts)
    key = settings.PRECISION.name
    precisions = [_read(key, typed) for typed in asked.get(key, ())] or _list_precisions(abilities)
    engines = _choose_engines(
        asked.get(settings.ENGINE.name), default, abilities, {*precisions, default.precision}
    )
    automatic: dict[str, Sequence[Choice]] = {
        settings.STEPS.name: _list_steps(workload.num_inference_steps),
        settings.GUIDANCE.name: _list_guidance(take_guidance(workload)),
        BATCH: [batch for batch in BATCHES if batch <= images and abilities.family != "whole"],
        settings.PRECISION.name: [
            one
            for one in _list_precisions(abilities)
            if any(runs_on(engine, one) for engine in engines)
        ],
        settings.SCHEDULER.name: _list_schedulers(abilities.schedulers),
        settings.MODE.name: MODES,
        settings.WORKERS.name: [
            count
            for count in WORKERS
            if count <= min(images, max(1, abilities.cpu_threads))
            and any(abilities.fits(one, count) for one in _list_precisions(abilities))
        ],
    }
    required = choose_plain_keys(default)
    numbers, names = [], []
    for key in (one for one in PLAIN_KEYS if one != settings.ENGINE.name):
        choices: list[Any] = [_read(key, typed) for typed in asked[key]] if key in asked else []
        choices = list(dict.fromkeys([*(choices or automatic[key]), required[key]]))
        if isinstance(required[key], str):
            names.append(NameDimension(key, tuple(choices)))
        else:
            numbers.append(NumberDimension(key, tuple(sorted(choices))))
    for one in numbers:
        if one.name in (BATCH, settings.WORKERS.name) and max(one.choices) > images:
            raise ConfigurationError(
                f"{one.name} cannot be searched",
                got=int(max(one.choices)),
                expected=f"at most the {images} images of a round",
                hint=f"{settings.IMAGES.flag} N draws more",
            )
    if engines != (TORCH,):
        _check_precisions(engines, names)
        names.append(NameDimension(settings.ENGINE.name, engines))
    named = asked.get(settings.OPTIMISATIONS.name)
    switches = _choose_switches(named, default, abilities, engines)
    return Space(tuple(numbers), (*names, *_group(switches)), images)


def _list_steps(full: int) -> list[int]:
    return list(range(max(1, round(FEWEST_STEPS_SHARE * full)), full + 1))


def _list_guidance(full: float) -> list[float]:
    """List scales from 1 to a little above the model's own; guidance that is off stays off."""
    if full <= 1.0:
        return [full]
    count = math.floor((full - 1.0) / GUIDANCE_STEP) + 2
    return sorted({full, *(1.0 + GUIDANCE_STEP * step for step in range(count + 1))})


def _list_precisions(abilities: Abilities) -> list[Precision]:
    """List the native precisions that fit; 16 bits on the CPU only if asked for."""
    native = ("fp32",) if abilities.device.kind == "cpu" else abilities.device.native_precisions
    return [one for one in PRECISIONS if one in native and abilities.fits(one)]


def _list_schedulers(usable: Sequence[str]) -> list[str]:
    own = usable[0] if usable else None
    return [
        OWN_SCHEDULER,
        *(name for name in SEARCHED_SCHEDULERS if name in usable and name != own),
    ]


def _choose_engines(
    asked: Sequence[str] | None,
    default: TrialSetting,
    abilities: Abilities,
    precisions: Iterable[Precision],
) -> tuple[str, ...]:
    """Return the engines to search, torch first: on a CPU those that are installed and native."""
    automatic = [one for one in abilities.engines if any(runs_on(one, each) for each in precisions)]
    if asked is None:
        chosen = set(automatic if abilities.device.kind == "cpu" else (TORCH,))
    else:
        read = (_read(settings.ENGINE.name, typed) for typed in asked)
        chosen = {one for name in read for one in (automatic if name == AUTO else (name,))}
    chosen.add(default.engine)
    for name in sorted(chosen - {TORCH}):
        refusals = ENGINES[name].refusals
        obstacle = abilities.bound_to_torch or refusals.get(abilities.device.kind)
        if obstacle is not None:
            raise ConfigurationError(f"the engine {name} cannot be searched here", got=obstacle)
    return tuple(name for name in ENGINES if name in chosen)


def _check_precisions(engines: Sequence[str], names: Sequence[NameDimension]) -> None:
    """Refuse a search in which an engine or a precision would never be tried."""
    key = settings.PRECISION.name
    searched = next(one.choices for one in names if one.name == key)
    precisions = [one for one in PRECISIONS if one in searched]
    for engine in engines:
        if not any(runs_on(engine, one) for one in precisions):
            raise ConfigurationError(
                f"the engine {engine} cannot run any precision of the search",
                got=", ".join(precisions),
                expected=", ".join(ENGINES[engine].precisions),
                hint=f"--search {key}={ENGINES[engine].precisions[0]}",
            )
    for one in precisions:
        if not any(runs_on(engine, one) for engine in engines):
            raise ConfigurationError(
                f"no engine of the search can run {one}",
                got=", ".join(engines),
                hint=f"--search {settings.ENGINE.name}={TORCH}",
            )


def _choose_switches(
    asked: Sequence[str] | None,
    default: TrialSetting,
    abilities: Abilities,
    engines: Sequence[str],
) -> list[str]:
    """Return the optimisations to search, in the catalogue's order."""
    if asked is None:
        chosen = {
            name
            for name, one in OPTIMISATIONS.items()
            if name not in NOT_SEARCHED
            and not one.first_call
            and _find_obstacle(name, abilities, engines) is None
        }
    else:
        chosen = set(read_switches(asked))
        for name in sorted(chosen):
            obstacle = _find_obstacle(name, abilities, engines)
            if obstacle is not None:
                raise ConfigurationError(f"{name} cannot be searched here", got=obstacle)
        for name in sort_names(list(chosen)):
            _require_needed(name, {*chosen, *default.optimisations}, abilities, engines)
    return list(sort_names([*chosen, *default.optimisations]))


def _require_needed(
    name: str, chosen: set[str], abilities: Abilities, engines: Sequence[str]
) -> None:
    """Refuse to search an optimisation without the others of which it needs one."""
    needs = OPTIMISATIONS[name].needs
    if needs and not chosen & set(needs):
        usable = [one for one in needs if _find_obstacle(one, abilities, engines) is None]
        raise ConfigurationError(
            f"{name} cannot be searched alone: it is tried only with {' or '.join(needs)}",
            got=f"--search {settings.OPTIMISATIONS.name}={'|'.join(sort_names(list(chosen)))}",
            hint=f"name one of them too: {(usable or needs)[0]}|{name}",
        )


def read_switches(asked: Iterable[str]) -> list[str]:
    """Read the optimisations that a user would have searched.

    Raises:
        ConfigurationError: One is none.
    """
    return [name for text in asked for name in _read_switches(text)]


def _read_switches(text: str) -> list[str]:
    """Read names joined by ``+`` or ``,``; they may exclude each other."""
    names: list[str] = []
    for name in text.split("+"):
        if name in OPTIMISATIONS:  # also one that is only possible with another one
            names.append(name)
        elif name != PLAIN:
            try:
                names += parse_named_optimisations(name)
            except ValueError as error:
                raise ConfigurationError(
                    "an optimisation cannot be searched", got=text, expected=str(error)
                ) from error
    return names


def _find_obstacle(name: str, abilities: Abilities, engines: Sequence[str]) -> str | None:
    one = OPTIMISATIONS[name]
    if TORCH not in engines and list_of_torch([name]):
        return f"it changes torch's networks, which {' and '.join(engines)} replace"
    if one.images_per_call > 1:
        return "batches are searched as batch"
    if abilities.device.kind in one.refusals:
        return one.refusals[abilities.device.kind]
    if one.library not in (None, find_c_library()):
        return f"it is a feature of {one.library}"
    if one.families is not None and abilities.family not in one.families:
        return "it is written for other pipelines"
    if abilities.denoiser is not None and not one.may_suit(abilities.denoiser):
        return f"it is not for a {abilities.denoiser}"
    return None


def _group(switches: Sequence[str]) -> list[NameDimension]:
    """Divide switches into dimensions whose choices never conflict.

    Switches of one group, and switches that need one of them, share a dimension; every valid
    combination of them is a choice.
    """
    parties: list[set[str]] = []
    for name in switches:
        one = OPTIMISATIONS[name]
        tied = {
            other
            for other in switches
            if other != name
            and (
                (one.group is not None and OPTIMISATIONS[other].group == one.group)
                or other in one.needs
                or name in OPTIMISATIONS[other].needs
            )
        }
        joined = {name, *tied}
        for party in [party for party in parties if party & joined]:
            joined |= party
            parties.remove(party)
        parties.append(joined)
    return [NameDimension(_name_party(party), _list_valid(party)) for party in parties]


def _name_party(party: set[str]) -> str:
    names = sort_names(list(party))
    groups = [OPTIMISATIONS[name].group for name in names if OPTIMISATIONS[name].group is not None]
    return names[0] if len(names) == 1 else str(groups[0] if groups else names[0])


def _list_valid(party: Iterable[str]) -> tuple[str, ...]:
    names = sort_names(list(party))
    subsets = itertools.chain.from_iterable(
        itertools.combinations(names, count) for count in range(1, len(names) + 1)
    )
    return (PLAIN, *("+".join(subset) for subset in subsets if find_conflict(subset) is None))


_KINDS: Final[dict[str, Kind[Any]]] = {
    settings.STEPS.name: settings.STEPS.kind,
    settings.GUIDANCE.name: settings.SCALE,
    BATCH: choice([str(batch) for batch in BATCHES]),
    settings.PRECISION.name: settings.PRECISION.kind,
    settings.SCHEDULER.name: settings.SCHEDULER.kind,
    settings.MODE.name: settings.MODE.kind,
    settings.WORKERS.name: settings.WORKERS.kind,
    settings.ENGINE.name: choice([AUTO, *ENGINES]),
}


def _read(key: str, typed: str) -> Any:
    """Read one choice of a plain key.

    Raises:
        ConfigurationError: The choice cannot be used.
    """
    try:
        chosen = _KINDS[key].parse(typed)
    except ValueError as error:
        raise ConfigurationError(
            f"a choice of {key} cannot be searched", got=typed, expected=str(error)
        ) from error
    return int(chosen) if key == BATCH else chosen
