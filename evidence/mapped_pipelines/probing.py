"""What sdperf can do with a pipeline, tried on a tiny one with random weights."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from sdperf.errors import GenerationError, SdperfError, UnsupportedError
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.pipeline.borders import find_borders
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.catalogue import OPTIMISATIONS
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.execution import explain_differences
from sdperf.record.workload import (
    DEFAULT_PICTURE_SHA256,
    ImageRequest,
    InputPicture,
    Workload,
)
from sdperf.run.quality.bench import measure_components
from sdperf.run.worker.executed import count_execution, describe_asked, describe_execution
from sdperf.run.worker.recording import record, replay
from sdperf.run.worker.stagewise import generate_stagewise

PROMPTS: Final = ("red apple", "a blue car")
ALIKE: Final = 1e-4
"""How far a pixel of a batch may be from the pixel of the image alone; pixels range from 0 to 1."""


@dataclass(frozen=True)
class Abilities:
    """What sdperf can do with one pipeline class.

    Attributes:
        stages: How it is divided: by a class of its own, by hooks, or not at all.
        noise: How it takes noise that is drawn in float32.
        trajectory: Whether the latents of every step are seen.
        components: Which components can be judged alone.
        batch: Whether an image of a batch is the image alone.
        optimisations: How many of the catalogue's optimisations know it.
        task: What it does with a picture; empty where it draws from the prompt alone.
        picture: Arguments of its call that take the picture and what goes with it.
        steps: Steps that were executed, of those that were asked for.
    """

    stages: str
    noise: str
    trajectory: str
    components: str
    batch: str
    optimisations: int
    task: str = ""
    picture: str = ""
    steps: str = ""


def probe(
    pipeline: Any,
    settings: Mapping[str, Any],
    *,
    opened_as: str | None = None,
    is_given_a_picture: bool = False,
    is_saved: bool = True,
) -> Abilities:
    """Save a pipeline, load it as sdperf does, and try what can be done with it.

    Args:
        pipeline: A tiny `diffusers.DiffusionPipeline`.
        settings: Fields of the workload that differ from two steps at 32 x 32 pixels.
        opened_as: Class of diffusers that its folder is opened as; ``None`` is its own.
        is_given_a_picture: Whether it is given the default picture although it can do without.
        is_saved: Whether it is saved and loaded before; else it is taken as it is built.

    Raises:
        SdperfError: It cannot be loaded, or not be generated with.
    """
    loaded = _load_saved(pipeline, opened_as) if is_saved else pipeline
    loaded.set_progress_bar_config(disable=True)
    fields = {"num_inference_steps": 2, "guidance_scale": 3.0, "height": 32, "width": 32}
    picture = InputPicture(DEFAULT_PICTURE_SHA256) if is_given_a_picture else None
    workload = Workload("tiny", PROMPTS, **{**fields, **settings}, picture=picture)
    stages = stages_for(loaded, workload)
    stages.learn([PROMPTS[0]])
    known = [
        one
        for one in OPTIMISATIONS.values()
        if one.families is None or stages.family in one.families
    ]
    return Abilities(
        _name_stages(stages),
        _name_noise(stages),
        *_try_recording(stages),
        _try_batch(stages),
        len(known),
        *(() if stages.bound is None else _try_picture(stages)),
    )


def _load_saved(pipeline: Any, opened_as: str | None) -> Any:
    with tempfile.TemporaryDirectory(prefix="sdperf-mapped-") as name:
        folder = Path(name) / "model"
        pipeline.save_pretrained(folder)
        resolved = resolve_model(
            str(folder), cache_dir=Path(name) / "hashes", pipeline_class=opened_as
        )
        return load_pipeline(resolved, torch_dtype=torch.float32, device="cpu")


def _try_picture(stages: Stages) -> tuple[str, str, str]:
    """Return the task, the arguments that take the picture, and the steps of a counted image."""
    bound = stages.bound
    assert bound is not None
    image, crossed = stages.workload.image(0), []

    def around(stage: str) -> contextlib.AbstractContextManager[None]:
        crossed.append(stage)
        return contextlib.nullcontext()

    ahead = TokenizeAhead(stages.pipeline)
    with count_execution(stages.pipeline) as counted, ahead:
        png = generate_stagewise(stages, ahead, image, around)
    executed = describe_execution(counted, stages.pipeline, stages, (), png, is_recorded=False)
    asked = describe_asked(stages.pipeline, stages, "fp32", "torch", ())
    differences = explain_differences(asked, executed)
    if differences:
        raise GenerationError("something else was executed", got="; ".join(differences))
    encoded = "" if "encode_image" in crossed else " (not encoded)"
    names = ", ".join(f"`{name}`" for name in bound.arguments)
    steps = f"{executed.steps} of {stages.workload.num_inference_steps}"
    return str(bound.picture.task), names + encoded, steps


def _name_stages(stages: Stages) -> str:
    if isinstance(stages, SeparableStages):
        return "its own class"
    return "whole" if find_borders(stages.pipeline) is None else "hooks"


def _name_noise(stages: Stages) -> str:
    if stages.bound is not None:
        return "drawn inside, in float32"
    if isinstance(stages, SeparableStages):
        return "its own class"
    plan = stages._noise_plan
    if plan is None:
        return "draws its own"
    return "as drawn" if plan.arguments is None else "packed"


def _try_recording(stages: Stages) -> tuple[str, str]:
    image = ImageRequest(PROMPTS[0], 0)
    try:
        recording = record(stages, image)
    except UnsupportedError:
        return "no", "no"
    steps = len(recording.latents)
    trajectory = "yes" if steps and recording.nonfinite_step is None else "no"
    try:
        distances = measure_components(recording, replay(stages, image, recording))
    except UnsupportedError:
        return trajectory, "no"
    alike = [each.component for each in distances if each.identical or each.psnr_db > 80]
    return trajectory, ", ".join(dict.fromkeys(alike)) or "no"


def _try_batch(stages: Stages) -> str:
    requests = [stages.workload.image(index) for index in range(len(PROMPTS))]
    alone = [stages.run_whole([one.prompt], stages.draw_noise([one])) for one in requests]
    try:
        together = stages.run_whole([one.prompt for one in requests], stages.draw_noise(requests))
    except (SdperfError, RuntimeError, ValueError, TypeError):
        return "no"
    distance = max(
        float(np.abs(one[0] - both).max()) for one, both in zip(alone, together, strict=True)
    )
    return "yes" if distance < ALIKE else "differs"
