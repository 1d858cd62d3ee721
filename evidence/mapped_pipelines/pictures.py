"""Pipelines that draw from a picture with networks of their own, tiny and with random weights.

Image-to-image and inpainting take the weights of a text-to-image pipeline, and are opened from its
folder. A ControlNet, and a denoiser that takes a picture's latents beside its own, are made here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
from diffusers import (
    CogView4ControlPipeline,
    CogView4Transformer2DModel,
    ControlNetModel,
    FluxControlNetModel,
    FluxTransformer2DModel,
    QwenImageControlNetModel,
    SD3ControlNetModel,
)

from evidence.mapped_pipelines.families import build_flux, build_sd, build_sd3, build_sdxl
from evidence.mapped_pipelines.newest import build_cogview4
from evidence.mapped_pipelines.parts import random_weights
from evidence.mapped_pipelines.recent import build_qwen_image, build_z_image


def build_sd_controlnet(name: str = "StableDiffusionControlNetPipeline", **more: Any) -> Any:
    """Build Stable Diffusion with a ControlNet.

    Args:
        name: Class name of the pipeline.
        **more: Of the pipeline.
    """
    return _with_controlnet(build_sd, name, _steer_unet, requires_safety_checker=False, **more)


def build_sdxl_controlnet(name: str = "StableDiffusionXLControlNetPipeline", **more: Any) -> Any:
    """Build SDXL with a ControlNet.

    Args:
        name: Class name of the pipeline.
        **more: Of the pipeline.
    """
    return _with_controlnet(build_sdxl, name, _steer_unet, add_watermarker=False, **more)


def build_sd3_controlnet() -> Any:
    """Build Stable Diffusion 3 with a ControlNet."""

    def steer(transformer: Any) -> Any:
        return SD3ControlNetModel.from_config(
            dict(transformer.config) | {"extra_conditioning_channels": 0}
        )

    return _with_controlnet(build_sd3, "StableDiffusion3ControlNetPipeline", steer)


def build_flux_controlnet(name: str = "FluxControlNetPipeline") -> Any:
    """Build Flux with a ControlNet.

    Args:
        name: Class name of the pipeline.
    """

    def steer(transformer: Any) -> Any:
        return FluxControlNetModel.from_config(dict(transformer.config))

    return _with_controlnet(build_flux, name, steer)


def build_qwen_image_controlnet() -> Any:
    """Build Qwen-Image with a ControlNet."""

    def steer(transformer: Any) -> Any:
        return QwenImageControlNetModel.from_config(dict(transformer.config))

    return _with_controlnet(build_qwen_image, "QwenImageControlNetPipeline", steer)


def build_z_image_controlnet(name: str = "ZImageControlNetPipeline") -> Any:
    """Build Z-Image with a ControlNet, which shares parts of the denoiser.

    Args:
        name: Class name of the pipeline.
    """
    from diffusers import ZImageControlNetModel

    def steer(transformer: Any) -> Any:
        channels = transformer.config.in_channels
        return ZImageControlNetModel(
            control_layers_places=[0],
            control_refiner_layers_places=[0],
            control_in_dim=channels if "Inpaint" not in name else 2 * channels + 1,
            dim=transformer.config.dim,
            n_refiner_layers=1,
            n_heads=transformer.config.n_heads,
            n_kv_heads=transformer.config.n_kv_heads,
        )

    return _with_controlnet(build_z_image, name, steer)


def build_flux_control(name: str = "FluxControlPipeline") -> Any:
    """Build Flux Control, whose denoiser takes the picture's latents beside its own.

    Args:
        name: Class name of the pipeline.
    """
    parts = _widened(build_flux().components, FluxTransformer2DModel, 16)
    return getattr(diffusers, name)(**parts)


def build_flux_fill() -> Any:
    """Build Flux Fill, whose denoiser takes masked latents and the mask."""
    plain = {"image_encoder": None, "feature_extractor": None}
    parts = {name: part for name, part in build_flux().components.items() if name not in plain}
    mask = 4 * 4 * 4  # every latent's pixels, packed as latents are
    return diffusers.FluxFillPipeline(**_widened(parts, FluxTransformer2DModel, 16 + mask))


def build_cogview4_control() -> Any:
    """Build CogView 4 Control, whose denoiser takes the picture's latents beside its own."""
    parts = build_cogview4().components
    channels = parts["transformer"].config.in_channels
    return CogView4ControlPipeline(**_widened(parts, CogView4Transformer2DModel, channels))


def _steer_unet(unet: Any) -> Any:
    return ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(4, 8, 8), load_weights_from_unet=False
    )


def _with_controlnet(
    build: Callable[[], Any], name: str, steer: Callable[[Any], Any], **settings: Any
) -> Any:
    """Put a ControlNet with random weights beside a pipeline's parts."""
    parts = build().components
    denoiser = parts.get("unet") or parts.get("transformer")
    controlnet = random_weights().build(lambda: steer(denoiser))
    kind = getattr(diffusers, name)
    wanted, _ = kind._get_signature_keys(kind)
    given = {part: value for part, value in parts.items() if part in wanted}
    return kind(**given, controlnet=controlnet, **settings)


def _widened(parts: dict[str, Any], kind: Any, channels: int) -> dict[str, Any]:
    """Return parts with a denoiser that takes more channels and gives as many as before."""
    config = dict(parts["transformer"].config)
    config.pop("_use_default_values", None)  # names fields that from_config would set back
    given = config["out_channels"] or config["in_channels"]
    wider = config | {"in_channels": config["in_channels"] + channels, "out_channels": given}
    transformer = random_weights().build(lambda: kind.from_config(wider))
    plain = {"image_encoder", "feature_extractor"}
    kept = {name: part for name, part in parts.items() if name not in plain}
    return kept | {"transformer": transformer}
