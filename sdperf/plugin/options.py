"""The `Settings` of a pytest session: typed options, the profile and the ini file, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pytest

from sdperf import settings
from sdperf.engines.catalogue import parse_engines
from sdperf.errors import ConfigurationError
from sdperf.judging.limits import parse_growth, parse_start_limits
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.starts import StartLimits
from sdperf.models.sampling import Sampling, choose_sampling
from sdperf.models.tasks.choosing import AskedPicture, ChosenPicture, choose_picture
from sdperf.pipeline.optimisations.catalogue import parse_optimisations
from sdperf.plugin.command_line import find_value
from sdperf.record.guard import GUARD_NAMES, slugify_guard
from sdperf.record.measurement import GuardPolicy
from sdperf.record.workload import (
    DEFAULT_PROMPTS,
    MODES,
    PRECISIONS,
    TORCH,
    Mode,
    Precision,
    Task,
    Workload,
    is_external,
    read_prompts,
)
from sdperf.settings.kinds import AUTO, Setting
from sdperf.store.profile import read_profile

if TYPE_CHECKING:
    from sdperf.images.input_files import InputFile
    from sdperf.judging.session.limits import Limits

T = TypeVar("T")

AUTO_WORKERS: Final[tuple[int, ...]] = (1, 2, 4)


@dataclass(frozen=True)
class Settings:
    """All options, read and checked.

    Attributes:
        workload: What is generated; its prompts are those of a whole batch.
        device: A choice of the setting `DEVICE`.
        precisions: Precisions to parametrise over.
        precision_is_auto: Whether precisions that are not native are skipped.
        modes: Modes to parametrise over.
        workers: Worker counts to parametrise over.
        workers_are_auto: Whether counts above the performance cores are skipped.
        threads: CPU threads of a worker to parametrise over; ``None`` is automatic.
        optimisations: Sets of optimisations to parametrise over; ``None`` is automatic.
        engines: Engines to parametrise over.
        engine_is_auto: Whether engines that are not installed or not native are skipped.
        images: Number of images in a batch.
        rounds: Number of timed rounds of a latency case.
        batch_rounds: Number of timed rounds of a throughput case.
        warmup: Number of untimed rounds before them.
        timeout_s: Time limit of one generation, seconds.
        pictures: Pixels that the workload names, beside those that ship.
        pipeline_class: Class of diffusers that the model is opened as; ``None`` is its own.
        sampling_source: Where steps and guidance come from where the user left one of them open;
            ``None`` where the user gave both.
        left_open: Which of the two fields of the workload the user left open.
        subject: ``module:function``, or ``None`` for the plain pipeline.
        guards: The policy for a machine that is not fit to be measured on.
        allowed_unknown: Guards that a strict policy allows to be unknown, as they are typed.
        trace: File for a Chrome trace of one image, or ``None``.
        html: File for the report of the run, or ``None``.
        max_slowdown: Tolerated slowdown of a case as a fraction; ``None`` is automatic.
        max_suite_slowdown: Tolerated slowdown of all cases together as a fraction.
        memory: Tolerated growth of peak memory.
        max_load: Tolerated growth of the seconds that loading takes.
        max_first_call: Tolerated growth of the seconds that the first call takes.
        max_tail: Tolerated growth of p95 over the median, as a fraction.
        max_leak_bytes: Tolerated growth of memory, bytes per picture.
        max_energy_j: Tolerated energy of a picture, joules; ``None`` tolerates any.
        min_cores: Least number of busy cores; ``None`` sets no limit.
        soak_s: Seconds that a case of the soak runs; ``None`` runs no soak.
        budget_s: Seconds that the session may take; ``None`` sets no limit.
        processes: Number of fresh processes that measure each case.
        confirm_s: Seconds for measuring suspects again; 0 measures nothing again.
        limit_is_typed: Whether ``max_slowdown`` is on the command line.
        baselines: Folder of the accepted sessions, absolute.
        calibration: Folder of the calibrations, absolute.
        history: The history: a URL or file, ``""`` for the default, ``None`` for no history.
        markdown: File for a Markdown summary, or ``None``.
        in_process: Whether to run in pytest's own process.
        unwatched: Whether to leave out the rounds that are watched and not timed.
        cluster: Scheduler of the Dask cluster whose workers are used; ``None`` for local workers.
        durations: Whether to show where the wall time went.
        strict: Whether an open answer fails the run.
        exact: Whether an image fails the run that is no longer bit for bit the same.
        resume: Whether to continue an interrupted session.
    """

    workload: Workload
    device: str
    precisions: tuple[Precision, ...]
    precision_is_auto: bool
    modes: tuple[Mode, ...]
    workers: tuple[int, ...]
    workers_are_auto: bool
    threads: tuple[int, ...] | None
    optimisations: tuple[tuple[str, ...], ...] | None
    engines: tuple[str, ...]
    engine_is_auto: bool
    images: int
    rounds: int
    batch_rounds: int
    warmup: int
    timeout_s: float
    sampling_source: str | None
    subject: str | None
    guards: GuardPolicy
    allowed_unknown: frozenset[str]
    trace: Path | None
    html: Path | None
    max_slowdown: float | None
    max_suite_slowdown: float
    memory: MemoryLimits
    max_load: StartLimits
    max_first_call: StartLimits
    max_tail: float
    max_leak_bytes: int
    max_energy_j: float | None
    min_cores: float | None
    soak_s: float | None
    budget_s: float | None
    processes: int
    confirm_s: float
    limit_is_typed: bool
    baselines: Path
    calibration: Path
    history: str | None
    markdown: Path | None
    in_process: bool
    unwatched: bool
    cluster: str | None
    durations: bool
    strict: bool
    exact: bool
    pictures: tuple[InputFile, ...] = ()
    pipeline_class: str | None = None
    left_open: frozenset[str] = frozenset()
    resume: bool = False

    def limits(self, own: Mapping[str, float]) -> Limits:
        """Return the limits of the judges.

        Args:
            own: Tolerated slowdown of each test that has its own limit, by id.
        """
        from sdperf.judging.latency import DEFAULT_GROSS_SLOWDOWN, DEFAULT_MAX_SLOWDOWN
        from sdperf.judging.session.limits import Limits
        from sdperf.judging.session.recorded import RecordedLimits

        given = self.max_slowdown
        return Limits(
            max_slowdown=DEFAULT_MAX_SLOWDOWN if given is None else given,
            suite_slowdown=self.max_suite_slowdown,
            gross_slowdown=DEFAULT_GROSS_SLOWDOWN if given is None else given,
            max_growth=self.memory.max_growth,
            max_growth_bytes=self.memory.max_growth_bytes,
            own_slowdowns=own,
            recorded=RecordedLimits(
                load=self.max_load,
                first_call=self.max_first_call,
                max_tail=self.max_tail,
                max_leak_bytes=self.max_leak_bytes,
                max_energy_j=self.max_energy_j,
                min_cores=self.min_cores,
            ),
        )


def read_settings(config: pytest.Config) -> Settings:
    """Read and check all options; missing ones come from the ini file.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    texts = _Texts(config)
    switches = {one: bool(find_value(config, one)) for one in settings.SWITCHES}
    in_process = switches[settings.IN_PROCESS]
    guards, allowed_unknown = texts.read_as(settings.GUARDS, parse_guards)
    cluster = texts.read(settings.CLUSTER)
    workload, sampling, chosen = _make_workload(texts)
    engines = texts.read_as(settings.ENGINE, parse_engines)
    if chosen.picture is not None and not texts.is_auto(settings.ENGINE):
        _check_draws_from_pictures(engines)
    workers = texts.read_list(settings.WORKERS) or ((1,) if in_process else AUTO_WORKERS)
    _check_together(texts, cluster, workers, in_process=in_process)
    return Settings(
        workload=workload,
        pictures=chosen.files,
        pipeline_class=chosen.pipeline_class,
        sampling_source=sampling.source,
        left_open=sampling.left_open,
        device=texts.read(settings.DEVICE),
        precisions=cast("tuple[Precision, ...]", texts.read_list(settings.PRECISION) or PRECISIONS),
        precision_is_auto=texts.is_auto(settings.PRECISION),
        modes=cast("tuple[Mode, ...]", texts.read_list(settings.MODE) or MODES),
        workers=workers,
        workers_are_auto=texts.is_auto(settings.WORKERS),
        threads=texts.read_list(settings.THREADS),
        optimisations=None
        if texts.is_auto(settings.OPTIMISATIONS)
        else texts.read_as(settings.OPTIMISATIONS, _parse_optimisation_sets),
        engines=engines,
        engine_is_auto=texts.is_auto(settings.ENGINE),
        images=texts.read(settings.IMAGES),
        rounds=texts.read(settings.ROUNDS),
        batch_rounds=texts.read(settings.BATCH_ROUNDS),
        warmup=texts.read(settings.WARMUP),
        timeout_s=texts.read(settings.TIMEOUT),
        subject=texts.read(settings.SUBJECT) if texts[settings.SUBJECT] else None,
        guards="off" if cluster else guards,
        allowed_unknown=allowed_unknown,
        trace=texts.read(settings.TRACE),
        html=texts.read(settings.HTML),
        max_slowdown=texts.read_or_auto(settings.MAX_SLOWDOWN),
        max_suite_slowdown=texts.read(settings.MAX_SUITE_SLOWDOWN),
        memory=texts.read_as(settings.MAX_GROWTH, parse_growth),
        max_load=texts.read_as(settings.MAX_LOAD, parse_start_limits),
        max_first_call=texts.read_as(settings.MAX_FIRST_CALL, parse_start_limits),
        max_tail=texts.read(settings.MAX_TAIL),
        max_leak_bytes=texts.read(settings.MAX_LEAK),
        max_energy_j=texts.read(settings.MAX_ENERGY),
        min_cores=texts.read(settings.MIN_CORES),
        soak_s=texts.read(settings.SOAK),
        budget_s=texts.read(settings.BUDGET),
        processes=texts.read(settings.PROCESSES),
        confirm_s=texts.read(settings.CONFIRM),
        limit_is_typed=config.getoption(str(settings.MAX_SLOWDOWN)) is not None,
        baselines=config.rootpath / Path(texts[settings.BASELINES]).expanduser(),
        calibration=config.rootpath / Path(texts[settings.CALIBRATION]).expanduser(),
        history=_choose_history(texts),
        markdown=texts.read(settings.MARKDOWN),
        in_process=in_process,
        unwatched=switches[settings.UNWATCHED] or cluster is not None,
        cluster=cluster,
        durations=switches[settings.DURATIONS],
        strict=switches[settings.STRICT],
        exact=switches[settings.EXACT],
        resume=switches[settings.RESUME],
    )


class _Texts:
    """All settings of a session as text: command line first, then profile, then ini file.

    Args:
        config: pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        given = find_value(config, settings.PROFILE)
        profile = read_profile(Path(given).expanduser()).as_texts() if given else {}
        self._texts = {
            one: profile[one.key]
            if one.key in profile and config.getoption(str(one)) is None
            else find_value(config, one)
            for one in settings.OPTIONS
        }

    def __getitem__(self, setting: Setting[Any]) -> str:
        """Return the text of a setting."""
        return str(self._texts[setting])

    def is_auto(self, setting: Setting[Any]) -> bool:
        """Tell whether a setting is ``auto``."""
        return self[setting].strip() == AUTO

    def read(self, setting: Setting[T]) -> T:
        """Read a setting by its kind."""
        return self.read_as(setting, setting.parse)

    def read_as(self, setting: Setting[Any], parse: Callable[[str], T]) -> T:
        """Read a setting that takes more than one value of its kind.

        Raises:
            ConfigurationError: The value cannot be used.
        """
        try:
            return parse(self[setting].strip())
        except ValueError as error:
            raise _refuse(setting, self[setting], str(error)) from error

    def read_or_auto(self, setting: Setting[T]) -> T | None:
        """Read a setting; ``auto`` is ``None``."""
        return None if self.is_auto(setting) else self.read(setting)

    def read_list(self, setting: Setting[T]) -> tuple[T, ...] | None:
        """Read a comma list; ``auto`` is ``None``."""
        return None if self.is_auto(setting) else self.read_as(setting, setting.parse_list)


def _make_workload(texts: _Texts) -> tuple[Workload, Sampling, ChosenPicture]:
    """Return the workload, its steps and guidance with their source, and pixels."""
    text = texts[settings.MODEL]
    model = str(Path(text).expanduser()) if text.startswith("~") else text
    sampling = choose_sampling(
        model, texts.read_or_auto(settings.STEPS), texts.read_or_auto(settings.GUIDANCE)
    )
    prompts = (
        DEFAULT_PROMPTS
        if texts.is_auto(settings.PROMPTS)
        else read_prompts(Path(texts[settings.PROMPTS]), str(settings.PROMPTS))
    )
    width, height = texts.read_or_auto(settings.SIZE) or (None, None)
    asked = AskedPicture(
        task=cast("Task | None", texts.read_or_auto(settings.TASK)),
        picture=texts.read_or_auto(settings.INPUT_IMAGE),
        mask=texts.read_or_auto(settings.MASK),
        strength=texts.read_or_auto(settings.STRENGTH),
    )
    chosen = choose_picture(model, asked, is_subject=bool(texts[settings.SUBJECT]))
    workload = Workload(
        model=model,
        prompts=prompts,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        negative_prompt=texts[settings.NEGATIVE_PROMPT],
        seed=texts.read(settings.SEED),
        height=height,
        width=width,
        scheduler=texts.read_or_auto(settings.SCHEDULER),
        picture=chosen.picture,
        lora=texts.read(settings.LORA),
    )
    return workload, sampling, chosen


def _check_draws_from_pictures(engines: Sequence[str]) -> None:
    """Refuse named engines that draw from the prompt alone."""
    others = [name for name in engines if name != TORCH and not is_external(name)]
    if others:
        raise _refuse(
            settings.ENGINE,
            others[0],
            f"{TORCH} or a program of yours: other engines draw from the prompt alone",
        )


def _check_together(
    texts: _Texts, cluster: str | None, workers: tuple[int, ...], *, in_process: bool
) -> None:
    """Refuse settings that cannot hold together."""
    if cluster and (in_process or texts[settings.TRACE]):
        raise _refuse(
            settings.CLUSTER,
            texts[settings.CLUSTER],
            f"neither {settings.IN_PROCESS} nor {settings.TRACE}",
        )
    if cluster and not texts.is_auto(settings.THREADS):
        raise _refuse(
            settings.THREADS,
            texts[settings.THREADS],
            f"auto with {settings.CLUSTER}: dask worker --nthreads",
        )
    if in_process and max(workers) > 1:
        raise _refuse(settings.WORKERS, texts[settings.WORKERS], f"1 with {settings.IN_PROCESS}")


def _choose_history(texts: _Texts) -> str | None:
    """Return a URL or path, ``""`` for the default, ``None`` for no history."""
    chosen = texts.read_or_auto(settings.HISTORY)
    return "" if chosen is None else None if chosen == "off" else chosen


def _refuse(setting: Setting[Any], got: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} cannot be used", got=repr(got), expected=expected, hint="pytest --help"
    )


def parse_guards(text: str) -> tuple[GuardPolicy, frozenset[str]]:
    """Parse ``strict,allow=clock-governor`` into the policy and the guards that may be unknown.

    Raises:
        ValueError: The policy or guard does not exist, or guards are allowed without ``strict``.
    """
    first, *rest = (part.strip() for part in text.split(","))
    policy = cast("GuardPolicy", settings.GUARDS.parse(first))
    known = frozenset(map(slugify_guard, GUARD_NAMES))
    allowed = frozenset(part.removeprefix("allow=") for part in rest)
    if not all(part.startswith("allow=") for part in rest) or not allowed <= known:
        raise ValueError(f"strict,allow=NAME with NAME one of {', '.join(sorted(known))}")
    if allowed and policy != "strict":
        raise ValueError(f"allow= only beside strict: {policy} refuses nothing")
    return policy, allowed


def _parse_optimisation_sets(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(dict.fromkeys(parse_optimisations(part) for part in text.split(",")))
