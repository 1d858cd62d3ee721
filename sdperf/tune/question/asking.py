"""From what a user typed to a question, and from a winner to a profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdperf.ab.sides.settings import parse_settings
from sdperf.device import DeviceInfo
from sdperf.models.sampling import choose_sampling
from sdperf.record.workload import DEFAULT_PROMPTS, Workload
from sdperf.store.profile import Scalar, format_profile
from sdperf.tune.question.making_space import make_space
from sdperf.tune.question.question import StudyLimits, StudyQuestion
from sdperf.tune.question.setting import TrialSetting, make_setting, take_guidance
from sdperf.tune.summary import StudySummary
from sdperf.tune.trial.rig import LiveRig

DEFAULT_IMAGES = 4


@dataclass(frozen=True)
class Asked:
    """What was typed of a question; what was not is as the study has it, or the default.

    Attributes:
        workload: Fields of `Workload`.
        prompts: All prompts of a file.
        images: Images of a round.
        default: Settings as ``KEY=VALUE,...``.
        search: Choices by key.
        limits: Fields of `Limits`.
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
    """Make the question of what was typed, over that of a study where there is one.

    Args:
        asked: What was typed.
        rig: Where it will be tried; loads the plain pipeline to learn what it can.
        stored: The study's question.

    Returns:
        The question, and the device that it is asked of.

    Raises:
        ConfigurationError: Something cannot be asked here.
    """
    workload = _make_workload(asked, rig.model.name, stored)
    abilities = rig.examine(dataclasses.replace(workload, scheduler=None))
    default = _make_default(asked, workload, stored)
    limits = StudyLimits(**asked.limits)
    if stored is not None:
        limits = dataclasses.replace(stored.limits, **asked.limits)
    is_asked_anew = bool(asked.search or asked.default)
    if stored is None or is_asked_anew or len(workload.prompts) != stored.images:
        space = make_space(workload, default, abilities, asked.search)
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


def _make_workload(asked: Asked, model: str, stored: StudyQuestion | None) -> Workload:
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
    repeated = [prompts[index % len(prompts)] for index in range(images)]
    return dataclasses.replace(base, prompts=tuple(repeated))


def _make_default(asked: Asked, workload: Workload, stored: StudyQuestion | None) -> TrialSetting:
    if not asked.default:
        if stored is not None:
            return stored.default
        return TrialSetting(workload.num_inference_steps, take_guidance(workload))
    full = f"steps={workload.num_inference_steps},guidance={take_guidance(workload):.9f}"
    return make_setting(parse_settings([full, *asked.default]))


def make_profile(summary: StudySummary) -> str | None:
    """Return the winner as the text of a profile; ``None`` without one."""
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
    if winner.seconds is not None and winner.default_s is not None:
        evidence |= {"seconds_per_image": winner.seconds, "default_s": winner.default_s}
    return format_profile(winner.setting.make_profile(summary.question.workload, evidence))
