"""Read the shape of a UNet from its diffusers configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdperf.engines.mlx.settings import NetworkSettings, is_count

_DOWN: Final = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
_UP: Final = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
_MID: Final = "UNetMidBlock2DCrossAttn"
_PLAIN: Final[dict[str, tuple[Any, ...]]] = {
    "act_fn": ("silu", "swish"),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "class_embeddings_concat": (False,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": (_MID, None),
    "num_attention_heads": (None,),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
}
_READ: Final = (
    "addition_time_embed_dim",
    "attention_head_dim",
    "block_out_channels",
    "cross_attention_dim",
    "down_block_types",
    "flip_sin_to_cos",
    "freq_shift",
    "in_channels",
    "layers_per_block",
    "norm_eps",
    "norm_num_groups",
    "out_channels",
    "projection_class_embeddings_input_dim",
    "reverse_transformer_layers_per_block",
    "transformer_layers_per_block",
    "up_block_types",
)
_WITHOUT_INFLUENCE: Final = (
    "addition_embed_type_num_heads",
    "dropout",
    "sample_size",
    "upcast_attention",  # diffusers' own attention has not read it since torch 2
    "use_linear_projection",  # both are the same in this layout
)


@dataclass(frozen=True)
class BlockConfiguration:
    """One resolution of a UNet, on the way down, in the middle or on the way up.

    Attributes:
        channels: Channels of its output.
        transformer_layers: Layers of the transformer after each residual block; in the middle, of
            the transformer between each two.
        has_attention: Whether there are transformers at all.
        heads: Number of heads of each attention.
        context_channels: Length of a prompt token's embedding.
        changes_size: Whether the block ends by halving or doubling height and width.
    """

    channels: int
    transformer_layers: tuple[int, ...]
    has_attention: bool
    heads: int
    context_channels: int
    changes_size: bool


@dataclass(frozen=True)
class SizeEmbedding:
    """XL's second embedding, of sizes, crop and the pooled prompt.

    Attributes:
        in_channels: Channels of the whole input.
        time_channels: Channels of each number's sinusoids.
    """

    in_channels: int
    time_channels: int


@dataclass(frozen=True)
class UNetConfiguration:
    """The shape of a UNet.

    Attributes:
        in_channels: Channels of the latents.
        out_channels: Channels of the prediction.
        down_blocks: Blocks from the highest resolution to the lowest.
        mid_block: Block between them; ``None`` in distilled networks without one.
        up_blocks: Blocks from the lowest resolution to the highest.
        num_groups: Groups of each group normalisation.
        norm_eps: Epsilon of the normalisations in residual blocks and at the end.
        flip_sin_to_cos: Whether cosines come first in sinusoids.
        freq_shift: Shift of the sinusoids' frequencies.
        size_embedding: XL's second embedding; ``None`` in 1.x and 2.x.
    """

    in_channels: int
    out_channels: int
    down_blocks: tuple[BlockConfiguration, ...]
    mid_block: BlockConfiguration | None
    up_blocks: tuple[BlockConfiguration, ...]
    num_groups: int
    norm_eps: float
    flip_sin_to_cos: bool
    freq_shift: float
    size_embedding: SizeEmbedding | None

    @property
    def first_channels(self) -> int:
        """Channels at the highest resolution."""
        return self.down_blocks[0].channels

    @property
    def time_channels(self) -> int:
        """Length of the timestep embedding."""
        return 4 * self.first_channels


def parse_unet_configuration(entries: Mapping[str, Any]) -> UNetConfiguration:
    """Read a UNet's shape.

    Args:
        entries: The entries of diffusers' `config.json`.

    Raises:
        EngineError: The UNet computes something else than Stable Diffusion 1.x, 2.x and XL.
    """
    settings = NetworkSettings("UNet", entries)
    settings.require(_PLAIN)
    settings.check_known((*_PLAIN, *_READ, *_WITHOUT_INFLUENCE))
    down = _attention_of_each(settings, "down_block_types", _DOWN)
    up = _attention_of_each(settings, "up_block_types", _UP)
    count = len(down)
    if len(up) != count:
        raise settings.refuse("up_block_types", len(up), f"{count}, as many as down_block_types")
    channels = _each(settings, "block_out_channels", count)
    # diffusers reads this entry as the number of heads, because published models use it so.
    heads = _each(settings, "attention_head_dim", count, 8)
    contexts = _each(settings, "cross_attention_dim", count, 1280)
    resnets = _each(settings, "layers_per_block", count, 2)
    down_layers, up_layers = _transformer_layers(settings, count)

    def block(
        place: int, layers: Any, resnet_count: int, has_attention: bool, changes_size: bool
    ) -> BlockConfiguration:
        return BlockConfiguration(
            channels=channels[place],
            transformer_layers=_spread(settings, layers, resnet_count),
            has_attention=has_attention,
            heads=heads[place],
            context_channels=contexts[place],
            changes_size=changes_size,
        )

    last = count - 1
    return UNetConfiguration(
        in_channels=settings.number("in_channels", 4),
        out_channels=settings.number("out_channels", 4),
        down_blocks=tuple(
            block(place, down_layers[place], resnets[place], down[place], place < last)
            for place in range(count)
        ),
        mid_block=None
        if settings.get("mid_block_type", _MID) is None
        else block(last, down_layers[last], 1, has_attention=True, changes_size=False),
        up_blocks=tuple(
            block(
                last - order, up_layers[order], resnets[last - order] + 1, up[order], order < last
            )
            for order in range(count)
        ),
        num_groups=settings.number("norm_num_groups", 32),
        norm_eps=settings.real("norm_eps", 1e-5),
        flip_sin_to_cos=settings.flag("flip_sin_to_cos", True),
        freq_shift=settings.real("freq_shift", 0),
        size_embedding=_size_embedding(settings),
    )


def _attention_of_each(
    settings: NetworkSettings, name: str, kinds: Mapping[str, bool]
) -> list[bool]:
    """Tell for each block whether it has attention."""
    found = settings.get(name)
    if not isinstance(found, list | tuple) or not found:
        raise settings.refuse(name, found, "a list of block types")
    for kind in found:
        if kind not in kinds:
            raise settings.refuse(name, kind, " or ".join(kinds))
    return [kinds[kind] for kind in found]


def _each(
    settings: NetworkSettings, name: str, count: int, default: int | None = None
) -> list[int]:
    """Read an entry that is one number for all blocks or a number for each."""
    found = settings.get(name, default)
    if not isinstance(found, list | tuple):
        return [settings.number(name, default)] * count
    if len(found) != count or not all(is_count(number) for number in found):
        raise settings.refuse(name, found, f"{count} whole numbers of one or more")
    return list(found)


def _transformer_layers(settings: NetworkSettings, count: int) -> tuple[list[Any], list[Any]]:
    """Read the depths on the way down and on the way up: a number or a list for each block."""
    name, reverse_name = "transformer_layers_per_block", "reverse_transformer_layers_per_block"
    found, reverse = settings.get(name, 1), settings.get(reverse_name)
    down = list(found) if isinstance(found, list | tuple) else [found] * count
    up = down[::-1] if reverse is None else list(reverse)
    for what, layers in ((name, down), (reverse_name, up)):
        if len(layers) != count:
            raise settings.refuse(what, layers, f"an entry for each of {count} blocks")
    return down, up


def _spread(settings: NetworkSettings, layers: Any, count: int) -> tuple[int, ...]:
    """Give each residual block its own depth."""
    each: Sequence[Any] = layers if isinstance(layers, list | tuple) else [layers] * count
    if len(each) < count or not all(is_count(number) or number == 0 for number in each):
        raise settings.refuse("transformer_layers_per_block", layers, f"{count} whole numbers")
    return tuple(each[:count])


def _size_embedding(settings: NetworkSettings) -> SizeEmbedding | None:
    if settings.get("addition_embed_type") is None:
        return None
    return SizeEmbedding(
        in_channels=settings.number("projection_class_embeddings_input_dim"),
        time_channels=settings.number("addition_time_embed_dim"),
    )
