"""Pipelines of the embedded model, each damaged in one way: what ``--sd-subject`` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sdperf.models.subject import PipelineRequest
from sdperf.record.workload import DEFAULT_PROMPTS

Levels = NDArray[np.float64]
"""(H, W, 3) grey levels, 0 to 255 and beyond."""

Change = Callable[[Levels], Levels]


def plain(request: PipelineRequest) -> Any:
    """Return the pipeline as it is."""
    return request.load()


def _noise(sigma: float) -> Change:
    return lambda image: image + np.random.default_rng(0).normal(0, sigma, image.shape)


def _contrast(factor: float) -> Change:
    return lambda image: (image - 127.5) * factor + 127.5


def _gamma(gamma: float) -> Change:
    return lambda image: 255 * (image.clip(0, 255) / 255) ** (1 / gamma)


def _desaturate(image: Levels) -> Levels:
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    return grey + (image - grey) * 0.98


def _watermark(strength: float) -> Change:
    """Lay a cross of white lines over the picture."""

    def mark(image: Levels) -> Levels:
        height, width = image.shape[:2]
        rows, columns = np.indices((height, width))
        cross = (abs(rows - columns) < 3) | (abs(rows + columns - width) < 3)
        return np.where(cross[..., None], image * (1 - strength) + 255 * strength, image)

    return mark


def _dead_pixel(image: Levels) -> Levels:
    damaged = image.copy()
    damaged[40, 40] = 255 - damaged[40, 40]
    return damaged


def _halve(image: Levels) -> Levels:
    return image[::2, ::2]


CHANGES: Final[dict[str, Change]] = {
    "brightness +1": lambda image: image + 1,
    "brightness -1": lambda image: image - 1,
    "brightness +2": lambda image: image + 2,
    "brightness +3": lambda image: image + 3,
    "red +2": lambda image: image + np.array([2.0, 0, 0]),
    "red +3": lambda image: image + np.array([3.0, 0, 0]),
    "saturation -2 %": _desaturate,
    "gamma 1.02": _gamma(1.02),
    "gamma 1.05": _gamma(1.05),
    "contrast -1 %": _contrast(0.99),
    "contrast -2 %": _contrast(0.98),
    "blur 0.4 px": lambda image: gaussian_filter(image, (0.4, 0.4, 0)),
    "a column cropped": lambda image: np.concatenate([image[:, 1:], image[:, -1:]], axis=1),
    "noise 0.5": _noise(0.5),
    "noise 1": _noise(1),
    "watermark 3 %": _watermark(0.03),
    "watermark 5 %": _watermark(0.05),
    "a dead pixel": _dead_pixel,
    "64 x 64 for 128 x 128": _halve,
}
"""Changes of every picture, in grey levels after decoding."""


def _change_pictures(pipeline: Any, change: Change, only: int | None = None) -> Any:
    """Change what the VAE decodes: of all prompts, or of one by its number from 0."""
    encode, decode = pipeline.text_encoder.forward, pipeline.vae.decode
    tokens = pipeline.tokenizer(["" if only is None else DEFAULT_PROMPTS[only], ""])["input_ids"]
    wanted, nothing = tokens
    seen = {"is_wanted": only is None}

    def noting(input_ids: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        first = input_ids[0].tolist()
        if only is not None and first[: len(nothing)] != nothing:  # no negative prompt
            seen["is_wanted"] = first[: len(wanted)] == wanted
        return encode(input_ids, *arguments, **named)

    def changed(latents: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        output = decode(latents, *arguments, **named)
        if not seen["is_wanted"]:
            return output
        pixels = output[0].permute(0, 2, 3, 1).double().numpy()
        made = np.stack([change((image / 2 + 0.5) * 255) for image in pixels])
        back = torch.from_numpy((made / 255 - 0.5) * 2).permute(0, 3, 1, 2).to(output[0].dtype)
        return (back, *output[1:])

    pipeline.text_encoder.forward = noting
    pipeline.vae.decode = changed
    return pipeline


def _black(image: Levels) -> Levels:
    return image * 0


def _nan(image: Levels) -> Levels:
    return image * np.nan


def _swap_prompts(pipeline: Any) -> Any:
    """Draw the second prompt where the third is asked for, and the other way round."""
    encode = pipeline.text_encoder.forward
    second, third = (
        pipeline.tokenizer(
            prompt, padding="max_length", max_length=pipeline.tokenizer.model_max_length
        )["input_ids"]
        for prompt in DEFAULT_PROMPTS[1:3]
    )

    def swapped(input_ids: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        rows = [row.tolist() for row in input_ids]
        other = [third if row == second else second if row == third else row for row in rows]
        return encode(torch.tensor(other), *arguments, **named)

    pipeline.text_encoder.forward = swapped
    return pipeline


def _call_with(pipeline: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    kind = type(pipeline)

    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        return kind.__call__(self, *arguments, **named | change(named))

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return pipeline


def _with_other_steps(pipeline: Any, steps: int) -> Any:
    return _call_with(pipeline, lambda _: {"num_inference_steps": steps})


def _ignore_seed(pipeline: Any) -> Any:
    """Start every picture from the same noise, whatever the seed."""

    def same(named: dict[str, Any]) -> dict[str, Any]:
        latents, generators = named.get("latents"), named.get("generator")
        if latents is not None:
            one = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(99))
            return {"latents": one.expand(latents.shape).to(latents)}
        if generators is None:
            return {}
        return {"generator": [torch.Generator().manual_seed(99) for _ in generators]}

    return _call_with(pipeline, same)


def _unipc(pipeline: Any) -> Any:
    from diffusers import UniPCMultistepScheduler

    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def _bf16_inside(pipeline: Any) -> Any:
    unet = pipeline.unet.to(torch.bfloat16)
    forward = unet.forward

    def widened(sample: torch.Tensor, timestep: Any, **named: Any) -> Any:
        named["encoder_hidden_states"] = named["encoder_hidden_states"].bfloat16()
        return tuple(one.float() for one in forward(sample.bfloat16(), timestep, **named))

    unet.forward = widened
    return pipeline


def _memoise(pipeline: Any) -> Any:
    """Keep every output of the denoiser by its input."""
    forward, known = pipeline.unet.forward, {}

    def remembering(sample: torch.Tensor, timestep: Any, *arguments: Any, **named: Any) -> Any:
        key = (sample.numpy().tobytes(), float(timestep))
        if key not in known:
            known[key] = forward(sample, timestep, *arguments, **named)
        return known[key]

    pipeline.unet.forward = remembering
    return pipeline


PIPELINES: Final[dict[str, Callable[[Any], Any]]] = {
    "NaN in picture 3": lambda pipeline: _change_pictures(pipeline, _nan, only=2),
    "black in picture 3": lambda pipeline: _change_pictures(pipeline, _black, only=2),
    "two prompts swapped": _swap_prompts,
    "seed ignored": _ignore_seed,
    "black in picture 8 only": lambda pipeline: _change_pictures(pipeline, _black, only=7),
    "18 of 20 steps": lambda pipeline: _with_other_steps(pipeline, 18),
    "15 of 20 steps": lambda pipeline: _with_other_steps(pipeline, 15),
    "UniPC instead of the scheduler": _unipc,
    "bf16 inside fp32": _bf16_inside,
    "memoised denoiser": _memoise,
}
"""Other damages of the pipeline."""

SUBJECTS: Final = ("unchanged", *CHANGES, *PIPELINES)
"""Names of all damages, in the order of the table."""


def damaged(name: str) -> Callable[[PipelineRequest], Any]:
    """Return the subject that plants a damage."""
    if name in CHANGES:
        return lambda request: _change_pictures(request.load(), CHANGES[name])
    if name in PIPELINES:
        return lambda request: PIPELINES[name](request.load())
    return plain


def name_function(name: str) -> str:
    """Return the name under which ``--sd-subject`` finds a damage."""
    spelt = name.replace("-", "m")  # brightness +1 and -1
    return "subject_" + "".join(letter if letter.isalnum() else "_" for letter in spelt)


def __getattr__(name: str) -> Callable[[PipelineRequest], Any]:
    found = {name_function(one): one for one in SUBJECTS}
    if name not in found:
        raise AttributeError(name)
    return damaged(found[name])
