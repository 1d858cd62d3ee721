"""Cutting a Stable Diffusion or SDXL pipeline into the networks that an engine takes over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from sdperf.engines.catalogue import FAMILIES
from sdperf.engines.protocol import Part, PartName
from sdperf.errors import EngineError
from sdperf.settings import ENGINE

EXAMPLE_ROWS: Final = 2
"""Rows of the example inputs: with one, exporters take the batch for a constant."""

_PLAIN_UNET: Final = {
    "time_cond_proj_dim": None,
    "encoder_hid_dim_type": None,
    "class_embed_type": None,
}
"""What a UNet's configuration must say: others take inputs that text-to-image does not give."""

_ENCODERS: Final[tuple[PartName, ...]] = ("text_encoder", "text_encoder_2")
_ADDED: Final = {"sd": None, "sdxl": "text_time"}


def split_pipeline(
    pipeline: Any, *, family: str, height: int, width: int, guided: bool
) -> tuple[Part, ...]:
    """Cut a pipeline into its parts.

    The pipeline is not changed, but for XL's VAE where it overflows in float16: it becomes float32.

    Args:
        pipeline: A `diffusers.DiffusionPipeline`.
        family: Its family, as `sdperf.pipeline.families` names it.
        height: Pixels of an image.
        width: Pixels of an image.
        guided: Whether the UNet's batch is doubled by classifier-free guidance.

    Raises:
        EngineError: The pipeline is none of Stable Diffusion or SDXL, or has parts of another
            build.
    """
    if family not in FAMILIES:
        raise _unsupported(pipeline, f"a pipeline of the family {family!r}")
    _check_build(pipeline, family)
    unet, vae = pipeline.unet, pipeline.vae
    if family == "sdxl" and vae.dtype == torch.float16 and vae.config.force_upcast:
        vae = vae.to(torch.float32)  # as the pipeline's own call does for each image
    factor = pipeline.vae_scale_factor
    size = (height // factor, width // factor)
    parts = [
        _split_encoder(pipeline, name, network, family)
        for name in _ENCODERS
        if (network := getattr(pipeline, name, None)) is not None
    ]
    parts.append(_split_unet(pipeline, unet, size, family, rows=2 if guided else 1))
    latents = _draw((EXAMPLE_ROWS, vae.config.latent_channels, *size), vae)
    parts.append(Part("vae_decoder", _Decoder(vae).eval(), vae, {"latents": latents}, ("image",)))
    return tuple(parts)


class _Encoder(torch.nn.Module):
    """Token ids to what the family's pipeline reads of the encoder's output."""

    def __init__(self, network: Any, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self._outputs = outputs

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Encode (B, T) int64."""
        found = self.network(input_ids, output_hidden_states="penultimate" in self._outputs)
        return tuple(
            found.hidden_states[-2] if name == "penultimate" else found[name]
            for name in self._outputs
        )


class _Unet(torch.nn.Module):
    """One call of the UNet."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Predict the noise of (B, C, H/f, W/f) latents at a (1,) float32 timestep."""
        predicted: tuple[torch.Tensor, ...] = self.network(
            sample, timestep, encoder_hidden_states, return_dict=False
        )
        return predicted


class _UnetXL(_Unet):
    """One call of SDXL's UNet, with the conditions that it takes besides."""

    def forward(  # type: ignore[override]
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        text_embeds: torch.Tensor,
        time_ids: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Predict the noise of (B, C, H/f, W/f) latents at a (1,) float32 timestep."""
        predicted: tuple[torch.Tensor, ...] = self.network(
            sample,
            timestep,
            encoder_hidden_states,
            added_cond_kwargs={"text_embeds": text_embeds, "time_ids": time_ids},
            return_dict=False,
        )
        return predicted


class _Decoder(torch.nn.Module):
    """Unscaled latents to an image in [-1, 1]."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Decode (B, C, H/f, W/f) to (B, 3, H, W)."""
        decoded: tuple[torch.Tensor, ...] = self.network.decode(latents, return_dict=False)
        return decoded


def _split_encoder(pipeline: Any, name: PartName, network: Any, family: str) -> Part:
    tokenizer = getattr(pipeline, name.replace("text_encoder", "tokenizer"))
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(
        0,
        network.config.vocab_size,
        (EXAMPLE_ROWS, tokenizer.model_max_length),
        generator=generator,
    ).to(network.device)
    outputs: tuple[str, ...] = ("last_hidden_state",)
    if family == "sdxl":
        projects = hasattr(network, "text_projection")
        outputs = ("text_embeds", "penultimate") if projects else ("penultimate",)
    return Part(name, _Encoder(network, outputs).eval(), network, {"input_ids": ids}, outputs)


def _split_unet(pipeline: Any, unet: Any, size: tuple[int, int], family: str, *, rows: int) -> Part:
    tokens = pipeline.tokenizer.model_max_length
    width = unet.config.cross_attention_dim
    inputs = {
        "sample": _draw((EXAMPLE_ROWS, unet.config.in_channels, *size), unet),
        "timestep": torch.tensor([501.0], device=unet.device),
        "encoder_hidden_states": _draw((EXAMPLE_ROWS, tokens, width), unet),
    }
    if family == "sdxl":
        ids = 6
        embeds = unet.add_embedding.linear_1.in_features
        embeds -= ids * unet.config.addition_time_embed_dim
        inputs["text_embeds"] = _draw((EXAMPLE_ROWS, embeds), unet)
        pixels = [size[0] * pipeline.vae_scale_factor, size[1] * pipeline.vae_scale_factor]
        times = torch.tensor([[*pixels, 0, 0, *pixels]] * EXAMPLE_ROWS, dtype=unet.dtype)
        inputs["time_ids"] = times.to(unet.device)
    return Part(
        "unet",
        (_UnetXL if family == "sdxl" else _Unet)(unet).eval(),
        unet,
        inputs,
        ("noise",),
        rows=rows,
        fixed=frozenset({"timestep"}),
    )


def _draw(shape: tuple[int, ...], network: Any) -> torch.Tensor:
    """Draw an example input, equal on every machine, in a network's dtype and on its device."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(device=network.device, dtype=network.dtype)


def _check_build(pipeline: Any, family: str) -> None:
    kinds: Mapping[str, Callable[[], tuple[type, ...]]] = {
        "unet": _unet_classes,
        "vae": _vae_classes,
        "text_encoder": _encoder_classes,
        "text_encoder_2": _encoder_classes,
    }
    for name, known in kinds.items():
        network = getattr(pipeline, name, None)
        if network is not None and type(network) not in known():
            raise _unsupported(pipeline, f"{type(network).__name__} as its {name}")
    config = pipeline.unet.config
    for field, plain in {**_PLAIN_UNET, "addition_embed_type": _ADDED[family]}.items():
        if getattr(config, field, None) != plain:
            raise _unsupported(pipeline, f"a UNet with {field} {getattr(config, field)!r}")
    if getattr(pipeline.text_encoder.config, "use_attention_mask", False):
        raise _unsupported(pipeline, "a text encoder that takes an attention mask")


def _unet_classes() -> tuple[type, ...]:
    from diffusers import UNet2DConditionModel

    return (UNet2DConditionModel,)


def _vae_classes() -> tuple[type, ...]:
    from diffusers import AutoencoderKL

    return (AutoencoderKL,)


def _encoder_classes() -> tuple[type, ...]:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return (CLIPTextModel, CLIPTextModelWithProjection)


def _unsupported(pipeline: Any, what: str) -> EngineError:
    return EngineError(
        f"other engines cannot run this {type(pipeline).__name__}",
        got=what,
        expected="CLIP, a UNet2DConditionModel and an AutoencoderKL of Stable Diffusion 1, 2 or XL",
        hint=f"{ENGINE} torch",
    )
