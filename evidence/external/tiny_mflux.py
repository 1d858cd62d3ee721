"""Tiny models with random weights, of mflux's own classes; mflux's interpreter runs this.

``mflux_images.py --make evidence/external/tiny_mflux.py:make_z_image``
"""

import mlx.core as mx
from mflux.callbacks.callback_registry import CallbackRegistry
from mflux.models.common.compute_precision import ComputePrecision
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.tokenizer import LanguageTokenizer
from mflux.models.z_image.model.z_image_text_encoder.text_encoder import TextEncoder
from mflux.models.z_image.model.z_image_transformer.transformer import ZImageTransformer
from mflux.models.z_image.model.z_image_vae.common.unet_mid_block import UNetMidBlock
from mflux.models.z_image.model.z_image_vae.decoder.conv_in import ConvIn
from mflux.models.z_image.model.z_image_vae.decoder.conv_norm_out import ConvNormOut
from mflux.models.z_image.model.z_image_vae.decoder.conv_out import ConvOut
from mflux.models.z_image.model.z_image_vae.decoder.up_decoder_block import UpDecoderBlock
from mflux.models.z_image.model.z_image_vae.vae import VAE
from mflux.models.z_image.variants.z_image import ZImage
from mlx import nn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SEED = 7
WIDTH = 128
"""Of one attention head, which mflux's rotary embeddings expect."""


def make_z_image(quantize):
    """Make a Z-Image pipeline of two layers, as its initializer does it without files."""
    mx.random.seed(SEED)
    model = ZImage.__new__(ZImage)
    nn.Module.__init__(model)
    model.model_config = ModelConfig.z_image_turbo()
    model.callbacks = CallbackRegistry()
    model.tiling_config = None
    model.tokenizers = {"z_image": make_tokenizer()}
    model.vae = make_vae()
    model.transformer = ZImageTransformer(
        dim=2 * WIDTH, n_layers=2, n_refiner_layers=1, n_heads=2, cap_feat_dim=WIDTH
    )
    model.text_encoder = TextEncoder(
        vocab_size=256,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=256,
        head_dim=64,
    )
    model.bits = quantize
    model.lora_paths = model.lora_scales = None
    model.float32 = False
    model.transformer.set_float32(False)
    model.compute_precision = ComputePrecision(None)
    model.set_dtype(ModelConfig.precision)
    if quantize:
        nn.quantize(model.transformer, bits=quantize)
    mx.eval(model.parameters())
    return model


def make_vae():
    """Make a decoder of mflux's blocks with 32 channels: one group of its norms a channel."""
    vae = VAE()
    decoder = vae.decoder
    decoder.conv_in = ConvIn(in_channels=16, out_channels=32)
    decoder.mid_block = UNetMidBlock(channels=32)
    decoder.up_blocks = [
        UpDecoderBlock(in_channels=32, out_channels=32, num_layers=1, add_upsample=number < 3)
        for number in range(4)
    ]
    decoder.conv_norm_out = ConvNormOut(channels=32)
    decoder.conv_out = ConvOut(in_channels=32, out_channels=3)
    del vae.encoder  # drawing from a prompt never calls it
    return vae


def make_tokenizer():
    """Make a tokenizer of single bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=bytes_only, pad_token=alphabet[0])
    return LanguageTokenizer(fast, max_length=64)
