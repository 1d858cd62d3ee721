"""Names that the first checkpoints of Stable Diffusion gave their weights, of a tiny pipeline.

The reverse of diffusers' conversion, by the same tables (its script
``convert_diffusers_to_original_stable_diffusion.py``), for levels of one layer.
"""

RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)
UNET = (
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
    ("mid_block.attentions.0.", "middle_block.1."),
    ("mid_block.resnets.0.", "middle_block.0."),
    ("mid_block.resnets.1.", "middle_block.2."),
)
VAE_ATTENTION = (
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
)


def rename_to_original(pipeline):
    """Return all weights of a pipeline under the names of a checkpoint of 2022."""
    unet, vae = pipeline.unet, pipeline.vae
    state = {}
    for name, values in unet.state_dict().items():
        state[f"model.diffusion_model.{_of_unet(name, unet.config)}"] = values.contiguous()
    for name, values in vae.state_dict().items():
        renamed = _of_vae(name, len(vae.config.block_out_channels))
        is_square = ".attn_1." in renamed and values.ndim == 2
        state[f"first_stage_model.{renamed}"] = (
            values[:, :, None, None] if is_square else values
        ).contiguous()
    for name, values in pipeline.text_encoder.state_dict().items():
        prefix = "" if name.startswith("text_model.") else "text_model."
        state[f"cond_stage_model.transformer.{prefix}{name}"] = values.contiguous()
    return state


def _of_unet(name, config):
    levels, layers = len(config.block_out_channels), config.layers_per_block
    table = list(UNET)
    for level in range(levels):
        for layer in range(layers):
            block = (layers + 1) * level + layer + 1
            table += [
                (f"down_blocks.{level}.resnets.{layer}.", f"input_blocks.{block}.0."),
                (f"down_blocks.{level}.attentions.{layer}.", f"input_blocks.{block}.1."),
            ]
        table.append(
            (f"down_blocks.{level}.downsamplers.0.conv.",
             f"input_blocks.{(layers + 1) * (level + 1)}.0.op.")
        )  # fmt: skip
        kind = config.up_block_types[level]
        for layer in range(layers + 1):
            block = (layers + 1) * level + layer
            table += [
                (f"up_blocks.{level}.resnets.{layer}.", f"output_blocks.{block}.0."),
                (f"up_blocks.{level}.attentions.{layer}.", f"output_blocks.{block}.1."),
            ]
        where = 2 if "CrossAttn" in kind else 1
        table.append(
            (f"up_blocks.{level}.upsamplers.0.",
             f"output_blocks.{(layers + 1) * level + layers}.{where}.")
        )  # fmt: skip
    renamed = _rename(name, table)
    return _rename(renamed, RESNET) if "resnets" in name else renamed


def _of_vae(name, levels):
    table = [("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out")]
    table += [(f"mid_block.resnets.{one}.", f"mid.block_{one + 1}.") for one in range(2)]
    table.append(("mid_block.attentions.0.", "mid.attn_1."))
    for level in range(levels):
        table += [
            (f"encoder.down_blocks.{level}.resnets.", f"encoder.down.{level}.block."),
            (f"down_blocks.{level}.downsamplers.0.", f"down.{level}.downsample."),
            (f"up_blocks.{level}.upsamplers.0.", f"up.{levels - 1 - level}.upsample."),
            (f"decoder.up_blocks.{level}.resnets.", f"decoder.up.{levels - 1 - level}.block."),
        ]
    renamed = _rename(name, table)
    return _rename(renamed, VAE_ATTENTION) if "attentions" in name else renamed


def _rename(name, table):
    for new, old in table:
        name = name.replace(new, old)
    return name
