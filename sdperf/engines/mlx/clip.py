"""CLIP's text encoder as transformers has it: CLIP-L, OpenCLIP-H and OpenCLIP-bigG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn

from sdperf.engines.mlx.attention import attend
from sdperf.engines.mlx.layers import gelu
from sdperf.engines.mlx.settings import NetworkSettings

_ACTIVATIONS: Final[dict[str, Callable[[mx.array], mx.array]]] = {
    "quick_gelu": lambda hidden: hidden * mx.sigmoid(1.702 * hidden),
    "gelu": gelu,
}
_OLD_END_ID: Final = 2
"""The wrong end token in configurations before transformers 4.31; the largest id is meant."""


@dataclass(frozen=True)
class TextConfiguration:
    """The shape of a text encoder.

    Attributes:
        vocab_size: Number of token ids.
        max_tokens: Tokens of the longest prompt, start and end included.
        channels: Length of a token's embedding.
        hidden_channels: Channels inside the feed-forward layers.
        layers: Number of transformer layers.
        heads: Number of heads of each attention.
        activation: Activation of the feed-forward layers.
        eps: Epsilon of each normalisation.
        end_id: Token that ends a prompt; its embedding is the pooled one.
        projection_channels: Length of the projected pooled embedding; ``None`` where the
            encoder has no projection.
    """

    vocab_size: int
    max_tokens: int
    channels: int
    hidden_channels: int
    layers: int
    heads: int
    activation: str
    eps: float
    end_id: int
    projection_channels: int | None


def parse_text_configuration(
    entries: Mapping[str, Any], *, has_projection: bool
) -> TextConfiguration:
    """Read a text encoder's shape.

    Args:
        entries: The entries of transformers' `config.json`.
        has_projection: Whether it is a `CLIPTextModelWithProjection`.

    Raises:
        EngineError: It is not CLIP's, or has an activation that is not offered here.
    """
    settings = NetworkSettings("text encoder", entries)
    settings.require(
        {"model_type": ("clip_text_model",), "hidden_act": ("quick_gelu", *_ACTIVATIONS)}
    )
    return TextConfiguration(
        vocab_size=settings.number("vocab_size", 49408),
        max_tokens=settings.number("max_position_embeddings", 77),
        channels=settings.number("hidden_size", 512),
        hidden_channels=settings.number("intermediate_size", 2048),
        layers=settings.number("num_hidden_layers", 12),
        heads=settings.number("num_attention_heads", 8),
        activation=settings.get("hidden_act", "quick_gelu"),
        eps=settings.real("layer_norm_eps", 1e-5),
        end_id=settings.number("eos_token_id", 49407, least=0),
        projection_channels=settings.number("projection_dim", 512) if has_projection else None,
    )


@dataclass(frozen=True)
class EncodedText:
    """The results of a text encoder.

    Attributes:
        hidden_states: (B, T, C) of the embeddings and of each layer, before the last
            normalisation.
        last: (B, T, C), normalised.
        pooled: (B, C), of the token that ends the prompt.
        projected: (B, P), or ``None`` where there is no projection.
    """

    hidden_states: tuple[mx.array, ...]
    last: mx.array
    pooled: mx.array
    projected: mx.array | None


class Embeddings(nn.Module):
    """Tokens and their places."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.channels)
        self.position_embedding = nn.Embedding(config.max_tokens, config.channels)

    def __call__(self, ids: mx.array) -> mx.array:
        """Run it on (B, T) ids."""
        places: mx.array = self.position_embedding.weight
        embedded: mx.array = self.token_embedding(ids)
        return embedded + places[: ids.shape[1]]


class SelfAttention(nn.Module):
    """Attention of each token to those before it."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.channels, config.channels)
        self.k_proj = nn.Linear(config.channels, config.channels)
        self.v_proj = nn.Linear(config.channels, config.channels)
        self.out_proj = nn.Linear(config.channels, config.channels)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Run it on (B, T, C) float."""
        attended = attend(
            self.q_proj(tokens), self.k_proj(tokens), self.v_proj(tokens), self.heads, "causal"
        )
        mixed: mx.array = self.out_proj(attended)
        return mixed


class CLIPFeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.activation = config.activation
        self.fc1 = nn.Linear(config.channels, config.hidden_channels)
        self.fc2 = nn.Linear(config.hidden_channels, config.channels)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Run it on (B, T, C) float."""
        changed: mx.array = self.fc2(_ACTIVATIONS[self.activation](self.fc1(tokens)))
        return changed


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward; each is added to its input."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.channels, eps=config.eps)
        self.self_attn = SelfAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.channels, eps=config.eps)
        self.mlp = CLIPFeedForward(config)

    def __call__(self, tokens: mx.array) -> mx.array:
        """Run it on (B, T, C) float."""
        tokens = tokens + self.self_attn(self.layer_norm1(tokens))
        return tokens + self.mlp(self.layer_norm2(tokens))


class Encoder(nn.Module):
    """All transformer layers."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.layers = [EncoderLayer(config) for _ in range(config.layers)]


class TextEncoder(nn.Module):
    """Turns token ids into embeddings."""

    def __init__(self, config: TextConfiguration) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.channels, eps=config.eps)
        if config.projection_channels is not None:
            self.text_projection = nn.Linear(
                config.channels, config.projection_channels, bias=False
            )

    def __call__(self, ids: mx.array) -> EncodedText:
        """Run it on (B, T) int32 ids."""
        hidden_states = [self.embeddings(ids)]
        for layer in self.encoder.layers:
            hidden_states.append(layer(hidden_states[-1]))
        last = self.final_layer_norm(hidden_states[-1])
        if self.config.end_id == _OLD_END_ID:
            ends = mx.argmax(ids, axis=-1)
        else:
            ends = mx.argmax((ids == self.config.end_id).astype(mx.int32), axis=-1)
        pooled = last[mx.arange(ids.shape[0]), ends]
        projected = self.text_projection(pooled) if "text_projection" in self else None
        return EncodedText(tuple(hidden_states), last, pooled, projected)
