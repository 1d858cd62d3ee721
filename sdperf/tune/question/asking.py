"""Makes a question from what a user typed, and a profile from a winner."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sdperf.ab.sides.settings import parse_settings
from sdperf.device import DeviceInfo, DeviceKind
from sdperf.engines.requirements import require_installed
from sdperf.errors import ConfigurationError
from sdperf.images.input_files import default_mask, default_picture
from sdperf.models.sampling import choose_sampling
from sdperf.models.tasks.choosing import (
    AskedPicture,
    ChosenPicture,
    choose_picture,
    settle_workload,
)
from sdperf.pipeline.optimisations.catalogue import refuse_unusable
from sdperf.record.workload import DEFAULT_PROMPTS, Workload
from sdperf.settings import ENGINE, INPUT_IMAGE, MASK, OPTIMISATIONS, STRENGTH, TASK
from sdperf.store.profile import Scalar, format_profile
from sdperf.tune.question.making_space import make_space, read_switches
from sdperf.tune.question.question import StudyLimits, StudyQuestion
from sdperf.tune.question.setting import TrialSetting, make_setting, take_guidance
from sdperf.tune.summary import StudySummary
from sdperf.tune.trial.rig import LiveRig

DEFAULT_IMAGES = 4


@dataclass(frozen=True)
class Asked:
    """The typed parts of a question; the other parts come from the study, or are the defaults.

    Attributes:
        workload: Typed fields of `Workload`.
        prompts: All prompts of a file.
        images: How many images a round has.
        default: The default setting as ``KEY=VALUE,...``.
        search: Choices to search, by key.
        limits: Typed fields of `Limits`.
    """

    workload: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, ...] | None = None
    images: int | None = None
    default: tuple[str, ...] = ()
    search: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)


def make_question(
    asked: Asked, rig: LiveRig, stored: StudyQuestion | None
) -> tuple[StudyQuestion, DeviceInfo]:
    """Make the question from what was typed, and from the study where there is one.

    Args:
        asked: The typed parts.
        rig: Runs the trials; loads the plain pipeline to learn its abilities.
        stored: The study's question.

    Returns:
        The question, and the device that it is about.

    Raises:
        ConfigurationError: A part of the question is not possible here.
    """
    named = list_named_optimisations(asked)
    kind: DeviceKind = "cpu" if rig.device == "auto" else cast("DeviceKind", rig.device)
    engines = _list_engines(asked, stored)
    require_installed(engines, [name for names in named for name in names], kind)
    refuse_unusable(named, rig.describe_device)
    pipeline_class = rig.model.pipeline_class if rig.subject is None else None
    workload = _make_workload(asked, rig.model.name, stored, pipeline_class)
    default = _make_default(asked, workload, stored)
    abilities = rig.examine(dataclasses.replace(workload, scheduler=None))
    require_installed(engines, (), abilities.device.kind)
    limits = StudyLimits(**asked.limits)
    if stored is not None:
        limits = dataclasses.replace(stored.limits, **asked.limits)
    is_asked_anew = bool(asked.search or asked.default)
    if stored is None or is_asked_anew or len(workload.prompts) != stored.images:
        space = make_space(workload, default, abilities, _complete_search(asked, stored))
    else:
        space = stored.space
    return StudyQuestion(
        workload=workload,
        model_hash=rig.model.model_hash,
        device_kind=abilities.device.kind,
        subject=rig.subject,
        default=default,
        space=space,
        limits=limits,
    ), abilities.device


def list_named_optimisations(asked: Asked) -> list[Sequence[str]]:
    """List the sets of optimisations that were typed: the default's, and each that is searched."""
    default = parse_settings(asked.default).variant.get(OPTIMISATIONS.name, ())
    searched = read_switches(asked.search.get(OPTIMISATIONS.name, ()))
    return [default, *([name] for name in searched)]


def _list_engines(asked: Asked, stored: StudyQuestion | None) -> list[str]:
    """List the engines that were typed, and those that the study has."""
    default = parse_settings(asked.default).variant.get(ENGINE.fields[0])
    typed = [*asked.search.get(ENGINE.name, ()), *([] if default is None else [default])]
    return [*typed, *(() if stored is None else stored.space.engines)]


def _complete_search(asked: Asked, stored: StudyQuestion | None) -> Mapping[str, Sequence[str]]:
    """Keep to the engines of a study: what is installed may differ by now, and its question not."""
    if stored is None or ENGINE.name in asked.search:
        return asked.search
    return {**asked.search, ENGINE.name: stored.space.engines}


def choose_for_study(
    model: str, asked: AskedPicture, stored: StudyQuestion | None, *, is_subject: bool
) -> ChosenPicture:
    """Choose what a study draws from: the typed picture, else that of the existing study.

    Args:
        model: The model, as `sdperf.models.sampling.preset_for` takes it.
        asked: The typed parts.
        stored: The question of the existing study.
        is_subject: Whether the user's function makes the pipeline.

    Returns:
        The choice; its picture is ``None`` where nothing was typed, so that the study's is used.

    Raises:
        ConfigurationError: A file cannot be used or is missing, or the model cannot draw from it.
    """
    picture = None if stored is None else stored.workload.picture
    if picture is None or not asked.is_open:
        chosen = choose_picture(model, asked, is_subject=is_subject)
        if picture is not None and chosen.picture is None:
            raise ConfigurationError(
                "the study draws from a picture",
                got=f"{TASK.flag} {asked.task}",
                expected=f"{TASK.flag} {picture.task}" if picture.task else "another task",
                hint="begin another: --study NAME",
            )
        return chosen
    shipped = (None, default_picture().sha256, default_mask().sha256)
    files = ((INPUT_IMAGE, picture.sha256), (MASK, picture.mask_sha256))
    missing = [setting.flag for setting, digest in files if digest not in shipped]
    if missing:
        task = [] if picture.task is None else [f"{TASK.flag} {picture.task}"]
        strength = [] if picture.strength is None else [f"{STRENGTH.flag} {picture.strength:g}"]
        raise ConfigurationError(
            "the study draws from a file of yours, of which it keeps the hash alone",
            got=f"no {' and no '.join(missing)}",
            expected="the file that it was begun with",
            hint=" ".join([*task, *(f"{flag} FILE" for flag in missing), *strength]),
        )
    chosen = choose_picture(model, AskedPicture(task=picture.task), is_subject=is_subject)
    return dataclasses.replace(chosen, picture=None)


def _make_workload(
    asked: Asked, model: str, stored: StudyQuestion | None, pipeline_class: str | None
) -> Workload:
    """Make the workload from what was typed, and from the study where there is one.

    Args:
        asked: The typed parts.
        model: The model, as a user names it.
        stored: The study's question.
        pipeline_class: The diffusers class that decides which picture is taken; ``None`` where the
            user's function makes the pipeline.
    """
    if stored is not None:
        images = stored.images if asked.images is None else asked.images
        prompts = stored.workload.prompts if asked.prompts is None else asked.prompts
        fields = {name: value for name, value in asked.workload.items() if name != "model"}
        base = dataclasses.replace(stored.workload, model=model, **fields)
    else:
        images = DEFAULT_IMAGES if asked.images is None else asked.images
        prompts = DEFAULT_PROMPTS if asked.prompts is None else asked.prompts
        sampling = choose_sampling(
            model, asked.workload.get("num_inference_steps"), asked.workload.get("guidance_scale")
        )
        fields = {
            "num_inference_steps": sampling.num_inference_steps,
            "guidance_scale": sampling.guidance_scale,
            **asked.workload,
            "model": model,
        }
        base = Workload(prompts=prompts, **fields)
    if pipeline_class is not None and (stored is None or "picture" in asked.workload):
        base = settle_workload(base, pipeline_class)
    repeated = [prompts[index % len(prompts)] for index in range(images)]
    return dataclasses.replace(base, prompts=tuple(repeated))


def _make_default(asked: Asked, workload: Workload, stored: StudyQuestion | None) -> TrialSetting:
    if not asked.default:
        if stored is not None:
            return stored.default
        return TrialSetting(workload.num_inference_steps, take_guidance(workload))
    full = f"steps={workload.num_inference_steps},guidance={take_guidance(workload):.9f}"
    return make_setting(parse_settings(asked.default, full))


def make_profile(summary: StudySummary) -> str | None:
    """Return the winner as the text of a profile; ``None`` without a winner."""
    winner = summary.find_winner()
    if winner is None or winner.speedup is None or winner.fidelity is None:
        return None
    middle, least, _ = winner.speedup
    evidence: dict[str, Scalar] = {
        "study": summary.study,
        "trial": winner.number,
        "machine": summary.machine,
        "measured": winner.created,
        "times_as_fast_as_the_default": round(middle, 3),
        "times_as_fast_at_least": round(least, 3),
        "sure": 1 - (winner.error or 0.0),
        "blocks": winner.blocks,
        "ssim_of_the_worst_fresh_image": round(winner.fidelity.ssim, 4),
    }
    tried = summary.find_trial(winner.number).tried
    if tried is not None and tried.start_s is not None:
        evidence["seconds_to_the_first_images"] = round(tried.start_s, 2)
    if tried is not None and tried.conversion_s is not None:
        evidence["seconds_of_converting_once"] = round(tried.conversion_s, 2)
    if winner.seconds is not None and winner.default_s is not None:
        evidence |= {"seconds_per_image": winner.seconds, "default_s": winner.default_s}
    return format_profile(winner.setting.make_profile(summary.question.workload, evidence))
