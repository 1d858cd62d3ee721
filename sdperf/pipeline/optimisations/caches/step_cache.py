"""Step caching for UNets: the deep features change little from step to step and are reused.

Every ``interval`` steps the whole UNet runs and the features that enter its outermost layers from
below are kept; in between only those outermost layers run, on the kept features.

Source: Ma, Fang and Wang, DeepCache (CVPR 2024), uniform intervals, outermost branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from sdperf.errors import ConfigurationError

SHALLOW_LAYERS: Final = 2
"""How many layers of the last up block always run: they take the skips of the first convolution and
of the first layer after it."""


class SplitUnet:
    """A `UNet2DConditionModel` whose call is divided at the deep features.

    Source: `UNet2DConditionModel.forward` of diffusers 0.42.1, for text-to-image calls.

    Raises:
        ConfigurationError: The UNet has another structure.
    """

    def __init__(self, unet: Any) -> None:
        last = unet.up_blocks[-1]
        if len(last.resnets) < SHALLOW_LAYERS or last.upsamplers is not None:
            raise ConfigurationError(
                "step caching does not know this UNet",
                got=f"{len(last.resnets)} layers in its last up block",
                expected=f"{SHALLOW_LAYERS} or more, and no upsampling after them",
                hint="leave step_cache out",
            )
        self._unet = unet

    def run_full(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        added: Mapping[str, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the whole UNet.

        Returns:
            The prediction, which is that of the UNet's own call, and the deep features.
        """
        unet = self._unet
        embedding, text = self._embed(sample, timestep, text, added)
        hidden = unet.conv_in(sample)
        skips = [hidden]
        for block in unet.down_blocks:
            hidden, more = block(hidden, embedding, **_text_for(block, text))
            skips += more
        if unet.mid_block is not None:
            hidden = unet.mid_block(hidden, embedding, **_text_for(unet.mid_block, text))
        factor = 2**unet.num_upsamplers
        needs_size = any(side % factor for side in sample.shape[-2:])
        for block in unet.up_blocks[:-1]:
            count = len(block.resnets)
            taken, skips = tuple(skips[-count:]), skips[:-count]
            size = skips[-1].shape[2:] if needs_size else None
            hidden = block(hidden, taken, embedding, upsample_size=size, **_text_for(block, text))
        layers = len(unet.up_blocks[-1].resnets)
        for layer in range(layers - SHALLOW_LAYERS):
            hidden = self._up_layer(layer, hidden, skips.pop(), embedding, text)
        return self._finish(hidden, skips, embedding, text), hidden

    def run_shallow(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        added: Mapping[str, torch.Tensor] | None,
        deep: torch.Tensor,
    ) -> torch.Tensor:
        """Run the outermost layers on kept deep features; returns the prediction."""
        unet = self._unet
        embedding, text = self._embed(sample, timestep, text, added)
        first = unet.conv_in(sample)
        block = unet.down_blocks[0]
        second = block.resnets[0](first, embedding)
        if _text_for(block, text):
            second = block.attentions[0](second, encoder_hidden_states=text, return_dict=False)[0]
        return self._finish(deep, [first, second], embedding, text)

    def _finish(
        self,
        hidden: torch.Tensor,
        skips: list[torch.Tensor],
        embedding: torch.Tensor,
        text: torch.Tensor,
    ) -> torch.Tensor:
        unet = self._unet
        layers = len(unet.up_blocks[-1].resnets)
        for layer, skip in zip(range(layers - SHALLOW_LAYERS, layers), skips[::-1], strict=True):
            hidden = self._up_layer(layer, hidden, skip, embedding, text)
        if unet.conv_norm_out is not None:
            hidden = unet.conv_act(unet.conv_norm_out(hidden))
        predicted: torch.Tensor = unet.conv_out(hidden)
        return predicted

    def _up_layer(
        self,
        layer: int,
        hidden: torch.Tensor,
        skip: torch.Tensor,
        embedding: torch.Tensor,
        text: torch.Tensor,
    ) -> torch.Tensor:
        block = self._unet.up_blocks[-1]
        hidden = block.resnets[layer](torch.cat([hidden, skip], dim=1), embedding)
        if _text_for(block, text):
            attention = block.attentions[layer]
            hidden = attention(hidden, encoder_hidden_states=text, return_dict=False)[0]
        return hidden

    def _embed(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        added: Mapping[str, torch.Tensor] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        unet = self._unet
        embedding = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=timestep), None)
        more = unet.get_aug_embed(
            emb=embedding, encoder_hidden_states=text, added_cond_kwargs=added
        )
        embedding = embedding if more is None else embedding + more
        if unet.time_embed_act is not None:
            embedding = unet.time_embed_act(embedding)
        text = unet.process_encoder_hidden_states(
            encoder_hidden_states=text, added_cond_kwargs=added
        )
        return embedding, text


class StepCache:
    """Calls a UNet fully every ``interval`` steps and shallowly in between.

    Args:
        unet: The UNet.
        interval: Number of steps from one full call to the next; 1 always makes full calls.
        added: Picks the UNet's added conditions from the conditioning.
        wrap: Wraps both calls, to compile them.
    """

    def __init__(
        self,
        unet: Any,
        interval: int,
        added: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor] | None],
        wrap: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda function: function,
    ) -> None:
        split = SplitUnet(unet)
        self._run_full = wrap(split.run_full)
        self._run_shallow = wrap(split.run_shallow)
        self._interval = interval
        self._added = added
        self._deep: torch.Tensor | None = None

    def __call__(
        self,
        step: int,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        conditioning: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Predict the noise of a step."""
        text, added = conditioning["encoder_hidden_states"], self._added(conditioning)
        predicted: torch.Tensor
        if step % self._interval == 0 or self._deep is None:
            predicted, self._deep = self._run_full(sample, timestep, text, added)
        else:
            predicted = self._run_shallow(sample, timestep, text, added, self._deep)
        return predicted


def _text_for(block: Any, text: torch.Tensor) -> dict[str, torch.Tensor]:
    attends = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": text} if attends else {}
