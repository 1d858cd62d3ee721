"""The `Settings` that the ``--sd-*`` options and the ini settings of the same names make."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pytest

from sdperf.device import DEVICE_CHOICES
from sdperf.engines.catalogue import parse_engines
from sdperf.errors import ConfigurationError
from sdperf.judging.limits import (
    parse_bytes,
    parse_growth,
    parse_joules,
    parse_number,
    parse_percent,
    parse_positive,
    parse_start_limits,
)
from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.starts import StartLimits
from sdperf.models.sampling import OWN_GUIDANCE, choose_sampling
from sdperf.pipeline.optimisations.catalogue import parse_optimisations
from sdperf.plugin.option_table import AUTO, OPTIONS, SWITCHES, Option, find_value
from sdperf.record.guard import GUARD_NAMES, slugify_guard
from sdperf.record.measurement import GUARD_POLICIES, GuardPolicy
from sdperf.record.workload import (
    DEFAULT_PROMPTS,
    MODES,
    PRECISIONS,
    Mode,
    Precision,
    Workload,
    read_prompts,
)
from sdperf.store.profile import read_profile

if TYPE_CHECKING:
    from sdperf.judging.latency import LatencyLimits
    from sdperf.judging.session.recorded import RecordedLimits

T = TypeVar("T")

AUTO_WORKERS: Final[tuple[int, ...]] = (1, 2, 4)
_NO_PROFILE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Settings:
    """All options, read and checked.

    Attributes:
        workload: What is generated; its prompts are those of a whole batch.
        device: A ``--sd-device`` choice.
        precisions: Precisions to parametrise over.
        precision_is_auto: Whether those that are not native shall be skipped.
        modes: Modes to parametrise over.
        workers: Worker counts to parametrise over.
        workers_are_auto: Whether counts above the performance cores shall be skipped.
        threads: CPU threads of a worker to parametrise over; ``None`` is automatic.
        optimisations: Sets of optimisations to parametrise over; ``None`` is automatic.
        engines: Engines to parametrise over.
        engine_is_auto: Whether those that are not installed or not native shall be skipped.
        images: Images in a batch.
        rounds: Timed rounds of a latency case.
        batch_rounds: Timed rounds of a throughput case.
        warmup: Untimed rounds before them.
        timeout_s: Time limit of one generation.
        sampling_source: Where steps and guidance come from that were left open; ``None``: none was.
        subject: ``module:function``, or ``None`` for the plain pipeline.
        guards: What to do about a machine that is not fit to be measured on.
        allowed_unknown: Guards that a strict policy lets be unknown, as they are typed.
        trace: Where a Chrome trace of one image goes, or ``None``.
        html: Where the report of the run goes, or ``None``.
        max_slowdown: Tolerated slowdown of a case as a fraction; ``None`` is automatic.
        max_suite_slowdown: Tolerated slowdown of all cases together as a fraction.
        memory: Tolerated growth of peak memory.
        max_load: Tolerated growth of the seconds that loading takes.
        max_first_call: Tolerated growth of the first call's.
        max_tail: Tolerated growth of p95 over the median, as a fraction.
        max_leak_bytes: Tolerated growth of memory from picture to picture.
        max_energy_j: Tolerated energy of a picture; ``None`` tolerates any.
        min_cores: Cores that have to be busy at least; ``None`` asks for none.
        soak_s: How long a case of the soak runs, seconds; ``None`` is not at all.
        processes: Fresh processes to measure each case in.
        confirm_s: Time for measuring suspicious cases again, seconds; 0 is not at all.
        limit_is_typed: Whether ``max_slowdown`` stands on the command line.
        baselines: Folder of the accepted sessions, absolute.
        calibration: Folder of what was calibrated, absolute.
        history: Where runs are kept: a URL or file, ``""`` for the default, ``None`` for nowhere.
        markdown: Where a Markdown summary goes, or ``None``.
        in_process: Whether to run in pytest's own process.
        unwatched: Whether to leave out the rounds that are not timed but looked at.
        cluster: Scheduler of the Dask cluster whose workers are used; ``None`` starts our own.
        durations: Whether to say where the wall time went.
        strict: Whether an open answer fails the run.
        exact: Whether an image that is no longer bit for bit what it was fails the run.
        resume: Whether to go on with an interrupted session.
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
    resume: bool = False

    def case_slowdown(self, own: float | None = None) -> float:
        """Return the binding limit of a case: its own, the one given, or the default."""
        from sdperf.judging.latency import DEFAULT_MAX_SLOWDOWN

        given = self.max_slowdown if own is None else own
        return DEFAULT_MAX_SLOWDOWN if given is None else given

    def recorded_limits(self) -> RecordedLimits:
        """Return the limits of what is in the records beside the median."""
        from sdperf.judging.session.recorded import RecordedLimits

        return RecordedLimits(
            load=self.max_load,
            first_call=self.max_first_call,
            max_tail=self.max_tail,
            max_leak_bytes=self.max_leak_bytes,
            max_energy_j=self.max_energy_j,
            min_cores=self.min_cores,
        )

    def latency_limits(self) -> LatencyLimits:
        """Return the limits of the whole suite."""
        from sdperf.judging.latency import DEFAULT_GROSS_SLOWDOWN, LatencyLimits

        gross = DEFAULT_GROSS_SLOWDOWN if self.max_slowdown is None else self.max_slowdown
        return LatencyLimits(suite_slowdown=self.max_suite_slowdown, gross_slowdown=gross)


def read_settings(config: pytest.Config) -> Settings:
    """Read and check all options; what the command line leaves out comes from the ini file.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    profile = _read_profile(config)
    texts = {option.name: _value(config, option, profile) for option in OPTIONS}
    switches = {switch.name: bool(_value(config, switch)) for switch in SWITCHES}
    model = _expand_model(texts["model"])
    sampling = choose_sampling(
        model,
        _or_auto(texts, "steps", _parse_count, None),
        _or_auto(texts, "guidance", _parse_guidance, None),
    )
    prompts = (
        DEFAULT_PROMPTS
        if texts["prompts"] == AUTO
        else read_prompts(Path(texts["prompts"]), "--sd-prompts")
    )
    width, height = _parse_size(texts["size"])
    workload = Workload(
        model=model,
        prompts=prompts,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        negative_prompt=texts["negative-prompt"],
        seed=_parse(texts, "seed", lambda text: _parse_count(text, least=0)),
        height=height,
        width=width,
        scheduler=None if texts["scheduler"] == AUTO else texts["scheduler"],
    )
    if texts["device"] not in DEVICE_CHOICES:
        raise _refused("device", texts["device"], ", ".join(DEVICE_CHOICES))
    guards, allowed_unknown = _parse(texts, "guards", parse_guards)
    in_process = switches["in-process"]
    workers_are_auto = texts["workers"] == AUTO
    workers = _or_auto(texts, "workers", _parse_counts, (1,) if in_process else AUTO_WORKERS)
    cluster = _parse(texts, "cluster", _parse_cluster)
    if cluster and (in_process or texts["trace"]):
        raise _refused("cluster", texts["cluster"], "neither --sd-in-process nor --sd-trace")
    if cluster and texts["threads"] != AUTO:
        raise _refused(
            "threads", texts["threads"], "auto with --sd-cluster: dask worker --nthreads"
        )
    if in_process and max(workers) > 1:
        raise _refused("workers", texts["workers"], "1 with --sd-in-process")
    return Settings(
        workload=workload,
        sampling_source=sampling.source,
        device=texts["device"],
        precisions=_or_auto(texts, "precision", _list_of(PRECISIONS), PRECISIONS),
        precision_is_auto=texts["precision"] == AUTO,
        modes=_or_auto(texts, "mode", _list_of(MODES), MODES),
        workers=workers,
        workers_are_auto=workers_are_auto,
        threads=_or_auto(texts, "threads", _parse_counts, None),
        optimisations=_or_auto(texts, "optimisations", _parse_optimisation_sets, None),
        engines=_parse(texts, "engine", parse_engines),
        engine_is_auto=texts["engine"].strip() == AUTO,
        images=_parse(texts, "images", _parse_count),
        rounds=_parse(texts, "rounds", _parse_count),
        batch_rounds=_parse(texts, "batch-rounds", _parse_count),
        warmup=_parse(texts, "warmup", lambda text: _parse_count(text, least=0)),
        timeout_s=_parse(texts, "timeout", parse_positive),
        subject=texts["subject"] or None,
        guards="off" if cluster else guards,
        allowed_unknown=allowed_unknown,
        trace=_parse(texts, "trace", _file_such_as("trace.json or trace.json.gz")),
        html=_parse(texts, "html", _parse_html_path),
        max_slowdown=(
            None if texts["max-slowdown"] == AUTO else _parse(texts, "max-slowdown", parse_percent)
        ),
        max_suite_slowdown=_parse(texts, "max-suite-slowdown", parse_percent),
        memory=_parse(texts, "max-growth", parse_growth),
        max_load=_parse(texts, "max-load", parse_start_limits),
        max_first_call=_parse(texts, "max-first-call", parse_start_limits),
        max_tail=_parse(texts, "max-tail", parse_percent),
        max_leak_bytes=_parse(texts, "max-leak", parse_bytes),
        max_energy_j=_parse(texts, "max-energy", _if_given(parse_joules)),
        min_cores=_parse(texts, "min-cores", _if_given(parse_positive)),
        soak_s=_parse(texts, "soak", _if_given(parse_minutes)),
        processes=_parse(texts, "processes", _parse_count),
        confirm_s=_parse(texts, "confirm", _parse_duration),
        limit_is_typed=config.getoption("--sd-max-slowdown") is not None,
        baselines=config.rootpath / Path(texts["baselines"]).expanduser(),
        calibration=config.rootpath / Path(texts["calibration"]).expanduser(),
        history=_parse(texts, "history", _parse_history),
        markdown=_parse(texts, "markdown", _file_such_as("summary.md")),
        in_process=in_process,
        unwatched=switches["unwatched"] or cluster is not None,
        cluster=cluster,
        durations=switches["durations"],
        strict=switches["strict"],
        exact=switches["exact"],
        resume=switches["resume"],
    )


def parse_minutes(text: str) -> float:
    """Parse ``90s``, ``10m`` or ``1h`` to seconds.

    Raises:
        ValueError: It is not a duration above 0 with its unit.
    """
    found = re.fullmatch(r"\s*([0-9.]{1,18})\s*([smh])\s*", text)
    if not found:
        raise ValueError("a duration above 0 with its unit, such as 90s, 10m or 1h")
    return parse_positive(found.group(1)) * {"s": 1, "m": 60, "h": 3600}[found.group(2)]


def parse_guards(text: str) -> tuple[GuardPolicy, frozenset[str]]:
    """Parse ``strict,allow=clock-governor`` to the policy and the guards that may be unknown.

    Raises:
        ValueError: There is no such policy or guard, or guards are allowed without ``strict``.
    """
    first, *rest = (part.strip() for part in text.split(","))
    policy = _one_of(GUARD_POLICIES)(first)
    known = frozenset(map(slugify_guard, GUARD_NAMES))
    allowed = frozenset(part.removeprefix("allow=") for part in rest)
    if not all(part.startswith("allow=") for part in rest) or not allowed <= known:
        raise ValueError(f"strict,allow=NAME with NAME one of {', '.join(sorted(known))}")
    if allowed and policy != "strict":
        raise ValueError(f"allow= only beside strict: {policy} refuses nothing")
    return policy, allowed


def _value(config: pytest.Config, option: Option, profile: Mapping[str, str] = _NO_PROFILE) -> Any:
    if config.getoption(option.flag) is None and option.name in profile:
        return profile[option.name]
    return find_value(config, option.name)


def _read_profile(config: pytest.Config) -> Mapping[str, str]:
    """Return the settings of ``--sd-profile`` by option; none without one."""
    given = find_value(config, "profile")
    return read_profile(Path(given).expanduser()).as_texts() if given else _NO_PROFILE


def _expand_model(text: str) -> str:
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _parse(texts: dict[str, str], name: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(texts[name].strip())
    except ValueError as error:
        raise _refused(name, texts[name], str(error)) from error


def _or_auto(texts: dict[str, str], name: str, parse: Callable[[str], T], automatic: T) -> T:
    return automatic if texts[name] == AUTO else _parse(texts, name, parse)


def _refused(name: str, got: str, expected: str) -> ConfigurationError:
    return ConfigurationError(
        f"--sd-{name} cannot be used", got=repr(got), expected=expected, hint="pytest --help"
    )


def _parse_count(text: str, least: int = 1) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
        raise ValueError(f"a whole number of {least} or more")
    return int(text)


def _if_given(parse: Callable[[str], T]) -> Callable[[str], T | None]:
    """Parse what is given; nothing is ``None``."""
    return lambda text: parse(text) if text else None


def _parse_guidance(text: str) -> float | str:
    return text if text == OWN_GUIDANCE else parse_number(text)


def _parse_duration(text: str) -> float:
    number = parse_number(text)
    if number < 0:
        raise ValueError("seconds, 0 or more")
    return number


def _parse_size(text: str) -> tuple[int | None, int | None]:
    if text == AUTO:
        return None, None
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*x\s*([0-9]{1,6})\s*", text)
    if not found:
        raise _refused("size", text, "WIDTHxHEIGHT in pixels, such as 512x512")
    return int(found.group(1)), int(found.group(2))


def _file_such_as(example: str) -> Callable[[str], Path | None]:
    def parse(text: str) -> Path | None:
        if not text:
            return None
        path = Path(text).expanduser().absolute()
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"a file in a folder that exists, such as {example}")
        return path

    return parse


def _parse_html_path(text: str) -> Path | None:
    if not text:
        return None
    path = Path(text).expanduser().absolute()
    if path.is_dir() or path.suffix not in (".html", ".htm"):
        raise ValueError("a file that ends in .html, such as report.html")
    return path


def _parse_cluster(text: str) -> str | None:
    if text and not re.fullmatch(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}", text):
        raise ValueError("tcp://HOST:PORT or tls://HOST:PORT")
    return text or None


def _parse_history(text: str) -> str | None:
    """Return a URL or path, ``""`` for the default; ``None`` for nowhere."""
    if text.startswith("-") or not re.fullmatch(r"(sqlite|postgres(ql)?)(\+\w+)?", _scheme(text)):
        raise ValueError("off, an SQLite file, or postgresql://USER@HOST/DATABASE")
    return None if text == "off" else "" if text == AUTO else text


def _scheme(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "sqlite"


def _one_of(choices: tuple[T, ...]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        for choice in choices:
            if choice == text:
                return choice
        raise ValueError(", ".join(map(str, choices)))

    return parse


def _list_of(choices: tuple[T, ...]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        names = [name.strip() for name in text.split(",")]
        if not set(names) <= set(choices):
            raise ValueError(f"auto, or a comma list of {', '.join(map(str, choices))}")
        return cast("tuple[T, ...]", tuple(dict.fromkeys(names)))

    return parse


def _parse_optimisation_sets(text: str) -> tuple[tuple[str, ...], ...] | None:
    return tuple(dict.fromkeys(parse_optimisations(part) for part in text.split(",")))


def _parse_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(_parse_count(part.strip()) for part in text.split(",")))
    except ValueError as error:
        raise ValueError("auto, or a comma list of whole numbers of 1 or more") from error
