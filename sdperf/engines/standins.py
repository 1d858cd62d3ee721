"""Modules that stand in a pipeline where its networks stood, and run them on an engine.

They answer what diffusers asks of a network: the same call, ``config``, ``dtype`` and ``device``.
The networks themselves are let go, so that their weights free their memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from sdperf.engines.protocol import Part, PartName, RunPart
from sdperf.errors import GenerationError


def replace_networks(
    pipeline: Any, parts: Sequence[Part], runs: Mapping[PartName, RunPart]
) -> None:
    """Put stand-ins in a pipeline, in place.

    Args:
        pipeline: The `diffusers.DiffusionPipeline` that the parts were cut from.
        parts: All of its parts.
        runs: What runs each.
    """
    for part in parts:
        run = runs[part.name]
        if part.name == "unet":
            pipeline.unet = StandinUnet(part, run)
        elif part.name == "vae_decoder":
            pipeline.vae = StandinVae(part, run)
        else:
            setattr(pipeline, part.name, StandinEncoder(part, run))


class _Standin(torch.nn.Module):
    """A module without weights that says of itself what the network said."""

    def __init__(self, part: Part, run: RunPart) -> None:
        super().__init__()
        self.config = part.network.config
        self.dtype: torch.dtype = part.network.dtype
        self.device: torch.device = part.network.device
        self._run = run
        self._inputs = {name: (one.dtype, one.device) for name, one in part.inputs.items()}
        self._outputs = part.outputs

    def _call(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        placed = {}
        for name, (dtype, device) in self._inputs.items():
            placed[name] = inputs[name].to(device=device, dtype=dtype)
        return self._run(placed)


class TextOutput:
    """What a pipeline reads of a text encoder: the first output, and the layer before the last."""

    def __init__(self, outputs: Mapping[str, torch.Tensor]) -> None:
        self._outputs = tuple(outputs.values())
        penultimate = outputs.get("penultimate")
        self.hidden_states = None if penultimate is None else (penultimate, None)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return an output by its place."""
        return self._outputs[index]


class StandinEncoder(_Standin):
    """Stands for a text encoder."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: Any = None, **_named: Any
    ) -> TextOutput:
        """Encode (B, T) token ids."""
        if attention_mask is not None:
            raise GenerationError("the engine's text encoder takes no attention mask")
        found = self._call({"input_ids": input_ids})
        return TextOutput(dict(zip(self._outputs, found, strict=True)))


class StandinUnet(_Standin):
    """Stands for a UNet."""

    def __init__(self, part: Part, run: RunPart) -> None:
        super().__init__(part, run)
        embedding = getattr(part.network, "add_embedding", None)
        if embedding is not None:  # SDXL's pipeline reads the width of its input
            features = embedding.linear_1.in_features
            self.add_embedding = SimpleNamespace(linear_1=SimpleNamespace(in_features=features))

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        added_cond_kwargs: Mapping[str, torch.Tensor] | None = None,
        **named: Any,
    ) -> tuple[torch.Tensor, ...]:
        """Predict the noise of (B, C, H/f, W/f) latents."""
        unknown = [name for name, value in named.items() if name != "return_dict" and value]
        if unknown:
            raise GenerationError("the engine's UNet takes no such input", got=", ".join(unknown))
        return self._call(
            {
                "sample": sample,
                "timestep": torch.as_tensor(timestep).reshape(1),
                "encoder_hidden_states": encoder_hidden_states,
                **(added_cond_kwargs or {}),
            }
        )


class StandinVae(_Standin):
    """Stands for a VAE that decodes; it keeps its dtype, whatever it is asked to become."""

    def decode(
        self, latents: torch.Tensor, return_dict: bool = False, generator: Any = None
    ) -> tuple[torch.Tensor, ...]:
        """Decode (B, C, H/f, W/f) latents to (B, 3, H, W) in [-1, 1]."""
        del return_dict, generator
        return self._call({"latents": latents})
