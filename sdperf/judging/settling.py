"""Commands that settle an open answer: each measures what the session measured. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sdperf.models.presets import PRESETS
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import (
    DEFAULT_MASK_SHA256,
    DEFAULT_PICTURE_SHA256,
    DEFAULT_PROMPTS,
    EMBEDDED,
    EXTERNAL,
    TORCH,
    InputPicture,
    Variant,
    Workload,
    is_external,
    name_engine,
)
from sdperf.settings import (
    DEVICE,
    ENGINE,
    GUIDANCE,
    IMAGES,
    INPUT_IMAGE,
    LORA,
    MASK,
    MODEL,
    NEGATIVE_PROMPT,
    OPTIMISATIONS,
    PRECISION,
    PROCESSES,
    PROMPTS,
    SCHEDULER,
    SEED,
    SIZE,
    STEPS,
    STRENGTH,
    SUBJECT,
    TASK,
    THREADS,
    WORKERS,
)
from sdperf.settings.kinds import Setting
from sdperf.shell import NextStep, join_command, join_step, list_commands

SHORT_COMMIT = 12
_DIRTY = "-dirty"
_COMPARE = "--benchmark-compare"
_ACCEPT = "sdperf baseline accept"
_REASON = " --reason TEXT"
_INTENDED = " --intended-change"
_PROGRAM = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_OWN_COMMAND = "{} is the command that you use for this program"
_BATCH = 4
"""How many images of a throughput round ``sdperf ab`` takes by default."""


@dataclass(frozen=True)
class Typed:
    """How a session was started, as far as its measurements do not tell.

    Attributes:
        options: The session's own options, word by word; ``None`` is unknown.
        prompts: The file of the prompts; ``None`` for the built-in prompts, or where it is unknown.
        device: The device that was asked for; ``None`` where none was, or where it is unknown.
        baselines: The folder of the accepted sessions; ``None`` for the default folder.
    """

    options: Sequence[str] | None = None
    prompts: str | None = None
    device: str | None = None
    baselines: str | None = None


UNKNOWN: Final = Typed()


def _name_program(engine: str, typed: Typed) -> str:
    """Name an engine for a command to copy: a saved run must not choose what its reader runs."""
    if typed.options is not None or not is_external(engine):
        return engine
    name = name_engine(engine).partition("-")[2]
    return f"{EXTERNAL}{name if _PROGRAM.fullmatch(name) else 'NAME'}"


def suggest_ab(
    saved: Measurement,
    current: Measurement,
    *,
    is_here: bool = False,
    typed: Typed = UNKNOWN,
) -> NextStep | None:
    """Return the command that measures two sessions' code against each other in one sitting.

    Args:
        saved: The measurement that was compared with.
        current: The measurement that was judged.
        is_here: Whether the current code is the working tree, so that ``.`` names it.
        typed: How the session was started.

    Returns:
        The command, with remarks in brackets; ``None`` where no commit or package is known to
        differ, so that there are no two sides.
    """
    before, now = saved.environment.commit, current.environment.commit
    packages = _list_changed_packages(saved, current)
    revisions = _name_revisions(before, now, is_here=is_here)
    environments = ["--python", "OLD/bin/python", "--python", "NEW/bin/python"]
    notes = []
    if revisions is not None:
        sides = revisions
        if before is not None and before.endswith(_DIRTY):
            notes.append("the baseline had uncommitted changes, which are lost")
        if packages:
            sides += environments
    elif packages:
        sides = environments
    else:
        return None
    if packages:
        notes.append(f"what differs: {', '.join(packages[:3])}")
    if typed.prompts is None and current.workload.prompts != DEFAULT_PROMPTS:
        notes.append("add the session's prompts: --both prompts=FILE")
    notes += _note_pictures(current.workload)
    engine = _name_program(current.variant.engine, typed)
    if engine != current.variant.engine:
        notes.append(_OWN_COMMAND.format(engine))
    if saved.subject != current.subject:
        owners = (("--a", saved.subject), ("--b", current.subject))
        for side, subject in owners:
            sides += [] if subject is None else [side, SUBJECT.assign(subject)]
        current = replace(current, subject=None)
    words = ["sdperf", "ab", *sides, *_describe_case(current, typed.prompts, engine)]
    if typed.device is not None:
        words += ["--device", typed.device]
    command = join_command(words)
    return join_step(command, f" ({'; '.join(notes)})") if notes else command


def suggest_bisect(measured: Measurement, aspect: str) -> tuple[str, ...]:
    """Return the options of ``sdperf bisect GOOD BAD`` that search for what made a case worse.

    Args:
        measured: The measurement of the case in a saved run.
        aspect: ``speed``, ``image`` or ``memory``.
    """
    engine = _name_program(measured.variant.engine, UNKNOWN)
    words = _describe_case(measured, None, engine)
    return ("--for", aspect, *("--set" if word == "--both" else word for word in words))


def _name_revisions(before: str | None, now: str | None, *, is_here: bool) -> list[str] | None:
    """Return both revisions as they are typed; ``None`` where they are unknown or the same."""
    if before is None or now is None or (before == now and not now.endswith(_DIRTY)):
        return None
    head = "." if is_here or now.endswith(_DIRTY) else now[:SHORT_COMMIT]
    return [before.removesuffix(_DIRTY)[:SHORT_COMMIT], head]


def _list_changed_packages(saved: Measurement, current: Measurement) -> list[str]:
    before, now = saved.environment.packages, current.environment.packages
    return [
        f"{name} {before.get(name, 'none')} against {now.get(name, 'none')}"
        for name in sorted({*before, *now} - {"sdperf"})
        if before.get(name) != now.get(name)
    ]


def _describe_case(measured: Measurement, prompts: str | None, engine: str) -> list[str]:
    """Return the options that make ``sdperf ab`` measure this very case."""
    variant, workload = measured.variant, measured.workload
    plain = replace(variant, optimisations=(), engine=TORCH, threads=None)
    name = variant.precision if measured.stage is not None else plain.id
    case = f"{measured.kind}[{name}{'' if measured.stage is None else f'-{measured.stage}'}]"
    words = ["--cases", case]
    if workload.model != EMBEDDED:
        words += [MODEL.flag, workload.model]
    if measured.subject is not None:
        words += [SUBJECT.flag, measured.subject]
    if measured.kind == "throughput" and measured.images_per_round != _BATCH:
        words += ["--batch", str(measured.images_per_round)]
    settings = [*_list_variant_settings(replace(variant, engine=engine)), *_list_settings(workload)]
    if prompts is not None:
        settings.append((PROMPTS, prompts))
    settings += _list_picture_settings(workload)
    both = ",".join(setting.assign(value) for setting, value in settings)
    return [*words, "--both", both] if settings else words


def _list_variant_settings(variant: Variant) -> list[tuple[Setting[Any], Any]]:
    """Return the options that the case's name in the matrix of ``sdperf ab`` does not imply."""
    settings: list[tuple[Setting[Any], Any]] = []
    if variant.engine != TORCH:
        settings.append((ENGINE, variant.engine))
    if variant.threads is not None:
        settings.append((THREADS, variant.threads))
    if variant.optimisations:
        settings.append((OPTIMISATIONS, variant.optimisations))
    return settings


def _list_settings(workload: Workload) -> list[tuple[Setting[Any], Any]]:
    """Return what differs from the preset of the model; without a preset, steps and guidance."""
    preset = PRESETS.get(workload.model)
    settings: list[tuple[Setting[Any], Any]] = []
    if preset is None or workload.num_inference_steps != preset.num_inference_steps:
        settings.append((STEPS, workload.num_inference_steps))
    own_guidance = None if preset is None else preset.guidance_scale
    if workload.guidance_scale is not None and workload.guidance_scale != own_guidance:
        settings.append((GUIDANCE, workload.guidance_scale))
    if workload.seed:
        settings.append((SEED, workload.seed))
    if workload.width is not None and workload.height is not None:
        settings.append((SIZE, (workload.width, workload.height)))
    if workload.lora:
        settings.append((LORA, workload.lora))
    if workload.scheduler is not None:
        settings.append((SCHEDULER, workload.scheduler))
    if workload.negative_prompt:
        settings.append((NEGATIVE_PROMPT, workload.negative_prompt))
    return settings


def _list_picture_settings(workload: Workload) -> list[tuple[Setting[Any], Any]]:
    """Return the options for input beside the prompt; a record does not know its files."""
    picture = workload.picture
    if picture is None:
        return []
    task = [] if picture.task is None else [(TASK, picture.task)]
    return task if picture.strength is None else [*task, (STRENGTH, picture.strength)]


def _note_pictures(workload: Workload) -> list[str]:
    """Say which files a command lacks; a record knows only their hashes."""
    picture = workload.picture
    if picture is None:
        return []
    missing = _list_missing(picture)
    return [f"add the session's {one.key}: --both {one.name}=FILE" for one in missing]


def _list_missing(picture: InputPicture) -> list[Setting[Any]]:
    """List the settings of files that did not ship."""
    known = (None, DEFAULT_PICTURE_SHA256, DEFAULT_MASK_SHA256)
    own = ((INPUT_IMAGE, picture.sha256), (MASK, picture.mask_sha256))
    return [setting for setting, digest in own if digest not in known]


def name_baselines(step: str | None, typed: Typed) -> str | None:
    """Add the session's own folder to a suggested ``sdperf baseline accept``.

    >>> name_baselines("sdperf baseline accept --reason TEXT", Typed(baselines="my runs"))
    "sdperf baseline accept --baselines 'my runs' --reason TEXT"
    """
    if step is None or typed.baselines is None or list_commands(step) or _ACCEPT not in step:
        return step
    before, _, after = step.partition(_ACCEPT)
    words = [*_ACCEPT.split(), "--baselines", typed.baselines]
    for option in (_REASON, _INTENDED):
        if after.startswith(option):
            words += option.split()
            after = after.removeprefix(option)
    return join_step(before, join_command(words), after)


def advise_accepting(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Make each suggested ``sdperf baseline accept`` one that accepts the case as it is.

    A case that failed is accepted with ``--intended-change`` only, whichever of its findings
    suggests it. One that is broken is never accepted, so that nothing is suggested.

    Args:
        findings: All findings of one case.
    """
    found = tuple(findings)
    outcomes = {one.outcome for one in found}
    if not any(one.is_failure for one in outcomes):
        return found
    is_broken = Outcome.BROKEN in outcomes
    return tuple(
        replace(one, next_step=_intend(one.next_step, is_broken=is_broken)) for one in found
    )


def _intend(step: str | None, *, is_broken: bool) -> str | None:
    accept = _ACCEPT + _REASON
    if step is None or accept not in step or accept + _INTENDED in step:
        return step
    return None if is_broken else step.replace(accept, accept + _INTENDED)


def suggest_repeat(case: str, measured: Measurement | None, typed: Typed = UNKNOWN) -> NextStep:
    """Return the command that measures a case again, in several fresh processes.

    Args:
        case: Its test id.
        measured: What was measured; ``None`` without a record.
        typed: How the session was started; without its options, the measurement is used.
    """
    options, note = _repeat_options(measured, typed)
    compare = (
        () if any(word.startswith("--benchmark-compare=") for word in options) else (_COMPARE,)
    )
    words = ["pytest", case, *compare, str(PROCESSES), "5", *options]
    return join_step(join_command(words), note)


def suggest_alone(case: str, measured: Measurement, typed: Typed = UNKNOWN) -> NextStep:
    """Return the command that measures a case once more, and no other; see `suggest_repeat`."""
    options, note = _repeat_options(measured, typed)
    return join_step(join_command(["pytest", case, *options]), note)


def _repeat_options(measured: Measurement | None, typed: Typed) -> tuple[Sequence[str], str]:
    """Return the options that a session was started with, and a remark in brackets."""
    if typed.options is not None or measured is None:
        return typed.options or (), ""
    engine = _name_program(measured.variant.engine, typed)
    note = "" if engine == measured.variant.engine else f" ({_OWN_COMMAND.format(engine)})"
    return _list_options(measured, engine), note


def suggest_calibrate(workload: Workload, precision: str, typed: Typed = UNKNOWN) -> NextStep:
    """Return the command that measures the floors for what a session drew.

    Args:
        workload: What was drawn.
        precision: The precision in which it was drawn.
        typed: How the session was started.
    """
    words = ["sdperf", "quality", "calibrate"]
    for setting, value in (*_list_drawn(workload), *_list_picture_settings(workload)):
        words += [setting.flag, setting.format(value)]
    picture = workload.picture
    if picture is not None:
        words += [word for one in _list_missing(picture) for word in (one.flag, "FILE")]
    words += [PRECISION.flag, precision]
    if typed.device is not None:
        words += [DEVICE.flag, typed.device]
    if typed.prompts is not None:
        words += [PROMPTS.flag, typed.prompts]
    return join_command(words)


def _list_options(measured: Measurement, engine: str) -> list[str]:
    """Return the pytest options that follow from the measurement."""
    variant, chosen = measured.variant, _list_drawn(measured.workload)
    if measured.subject is not None:
        chosen.append((SUBJECT, measured.subject))
    chosen += _list_picture_settings(measured.workload)
    if variant.precision != "fp32":  # a device that only emulates the precision would skip it
        chosen.append((PRECISION, variant.precision))
    if variant.workers > 1:
        chosen.append((WORKERS, variant.workers))
    if variant.threads is not None:
        chosen.append((THREADS, variant.threads))
    if engine != TORCH:
        chosen.append((ENGINE, engine))
    if variant.optimisations and measured.gain is None:
        chosen.append((OPTIMISATIONS, variant.optimisations))
    if measured.kind == "throughput" and measured.images_per_round != _BATCH:
        chosen.append((IMAGES, measured.images_per_round))
    return [word for one, value in chosen for word in (str(one), one.format(value))]


def _list_drawn(workload: Workload) -> list[tuple[Setting[Any], Any]]:
    """Return the options that say what is drawn, the model first."""
    model = [(MODEL, workload.model)] if workload.model != EMBEDDED else []
    return [*model, *_list_settings(workload)]
