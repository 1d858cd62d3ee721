"""Finds how a model is sampled where the user does not say: from the model, without guessing.

In this order: a preset of its hub id; the kind that its configuration shows; the defaults of its
pipeline's own call, read from the source of the installed diffusers without importing it. Where
models that are sampled differently look alike, or nothing is known, the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.finding import find_index
from sdperf.models.layout import INDEX_NAME, parse_json_object
from sdperf.models.presets import KINDS, PRESETS, Preset, find_kind
from sdperf.models.tasks.signatures import read_parameters
from sdperf.settings import GUIDANCE, STEPS, SUBJECT

OWN_GUIDANCE: Final = "none"
"""The word that a user types in place of a scale to leave guidance to the pipeline."""

_GUIDANCE_ARGUMENTS: Final = ("guidance_scale", "true_cfg_scale")
"""Names of the strength of guidance in pipelines' calls, the most common first."""

_MOST_JSON_BYTES: Final = 1 << 20
_ASK: Final = f"say how it is to be sampled: {STEPS} N {GUIDANCE} X (steps=, guidance=)"
_UPGRADE: Final = (
    "pip install --upgrade diffusers, if a newer one has it; a class of your own: "
    f"{SUBJECT} MODULE:FUNCTION {STEPS} N {GUIDANCE} X"
)


@dataclass(frozen=True)
class Sampling:
    """Steps and guidance of a workload, with their source.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance, as `sdperf.record.workload.Workload` has it.
        source: Source of the values that the user left open; ``None`` where nothing was left open.
        left_open: Which of the two the user left open.
    """

    num_inference_steps: int
    guidance_scale: float | None
    source: str | None
    left_open: frozenset[str] = frozenset()


def choose_sampling(
    model: str, steps: int | None = None, guidance: float | str | None = None
) -> Sampling:
    """Return the user's steps and guidance, else those of the model.

    The model is read only for values that are left open.

    Args:
        model: The model, as `preset_for` takes it.
        steps: The user's steps; ``None`` takes the model's.
        guidance: The user's scale, or `OWN_GUIDANCE`; ``None`` takes the model's.

    Raises:
        ModelError: The model does not exist.
        ConfigurationError: The model does not tell how it is sampled.
    """
    typed = guidance if isinstance(guidance, float | int) else None
    if steps is not None and guidance is not None:
        return Sampling(steps, typed, None)
    preset = preset_for(model)
    return Sampling(
        preset.num_inference_steps if steps is None else steps,
        preset.guidance_scale if guidance is None else typed,
        preset.source,
        find_left_open(steps, guidance),
    )


def find_left_open(steps: int | None, guidance: float | str | None) -> frozenset[str]:
    """Name the fields of a workload that the user left open. Pure.

    Args:
        steps: The user's steps.
        guidance: The user's scale, or `OWN_GUIDANCE`.
    """
    given = {"num_inference_steps": steps, "guidance_scale": guidance}
    return frozenset(name for name, value in given.items() if value is None)


def preset_for(model: str) -> Preset:
    """Return the default settings of a model.

    Args:
        model: ``embedded``, a local diffusers folder, or a hub id; for a hub id without a preset
            the index is fetched where the cache lacks it.

    Raises:
        ModelError: There is no such model.
        ConfigurationError: The model does not say, or models that look like it are sampled
            differently.
    """
    if model in PRESETS:
        return PRESETS[model]
    files = sorted({kind.file for kind in KINDS} - {INDEX_NAME})
    index = find_index(model, files)
    described = _read_json(index)
    pipeline_class = described.get("_class_name")
    if not isinstance(pipeline_class, str):
        raise ModelError(
            f"the {INDEX_NAME} of {model} names no pipeline",
            got=pipeline_class,
            expected="_class_name, such as StableDiffusionPipeline",
        )
    configurations = {INDEX_NAME: described}
    for file in files:
        if (index.parent / file).is_file():
            configurations[file] = _read_json(index.parent / file)
    kind = find_kind(pipeline_class, configurations)
    if kind is not None:
        if kind.preset is None:
            raise ConfigurationError(
                f"{model} does not say how it is sampled", got=kind.name, hint=_ASK
            )
        return kind.preset
    return read_defaults(pipeline_class)


def find_guidance_argument(defaults: Mapping[str, object]) -> str | None:
    """Return the name of a call's argument for guidance, one with a default scale first.

    Qwen-Image's ``guidance_scale`` belongs to distilled versions and has none; its guidance is
    ``true_cfg_scale``.

    Args:
        defaults: The default of each argument.
    """
    taken = [name for name in _GUIDANCE_ARGUMENTS if name in defaults]
    with_default = (name for name in taken if defaults[name] is not None)
    return next(with_default, taken[-1] if taken else None)


def read_defaults(pipeline_class: str) -> Preset:
    """Read the default arguments of a pipeline's call from the installed diffusers.

    Args:
        pipeline_class: Class name in diffusers.

    Raises:
        ConfigurationError: This diffusers lacks the class, or its call has no number of steps.
    """
    found = read_parameters(pipeline_class)
    steps = None if found is None else found.get("num_inference_steps")
    if found is None or not isinstance(steps, int):
        raise ConfigurationError(
            f"it is not known how a {pipeline_class} is sampled",
            got="no such class in the installed diffusers"
            if found is None
            else f"num_inference_steps={steps} in its call",
            hint=_UPGRADE if found is None else _ASK,
        )
    scale = found.get(find_guidance_argument(found) or "")
    guidance = float(scale) if isinstance(scale, int | float) else None
    return Preset(
        steps, guidance, f"defaults of {pipeline_class}.__call__ in the installed diffusers"
    )


def _read_json(path: Path) -> dict[str, Any]:
    size_bytes = path.stat().st_size
    if size_bytes > _MOST_JSON_BYTES:
        raise ModelError(
            f"{path} is no configuration",
            got=f"{size_bytes} bytes",
            expected=f"at most {_MOST_JSON_BYTES}",
        )
    return parse_json_object(path.read_bytes(), str(path))
