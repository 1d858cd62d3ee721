"""Tiny models with random weights, of mflux's own classes; mflux's interpreter runs this.

``mflux_images.py --make evidence/external/tiny_mflux.py:make_z_image``, or ``:make_flux2``.
"""

import mlx.core as mx
from mflux.callbacks.callback_registry import CallbackRegistry
from mflux.models.common.config.model_config import ModelConfig
from mflux.models.common.tokenizer import LanguageTokenizer
from mflux.models.flux2.model.flux2_text_encoder.qwen3_text_encoder import Qwen3TextEncoder
from mflux.models.flux2.model.flux2_transformer.transformer import Flux2Transformer
from mflux.models.flux2.model.flux2_vae.decoder.decoder import Flux2Decoder
from mflux.models.flux2.model.flux2_vae.encoder.encoder import Flux2Encoder
from mflux.models.flux2.model.flux2_vae.vae import Flux2VAE
from mflux.models.flux2.variants.txt2img.flux2_klein import Flux2Klein
from mflux.models.z_image.model.z_image_text_encoder.text_encoder import TextEncoder
from mflux.models.z_image.model.z_image_transformer.transformer import ZImageTransformer
from mflux.models.z_image.model.z_image_vae.common.unet_mid_block import UNetMidBlock
from mflux.models.z_image.model.z_image_vae.decoder.conv_in import ConvIn
from mflux.models.z_image.model.z_image_vae.decoder.conv_norm_out import ConvNormOut
from mflux.models.z_image.model.z_image_vae.decoder.conv_out import ConvOut
from mflux.models.z_image.model.z_image_vae.decoder.up_decoder_block import UpDecoderBlock
from mflux.models.z_image.model.z_image_vae.encoder import conv_in as encoder_in
from mflux.models.z_image.model.z_image_vae.encoder import conv_norm_out as encoder_norm
from mflux.models.z_image.model.z_image_vae.encoder import conv_out as encoder_out
from mflux.models.z_image.model.z_image_vae.encoder.down_encoder_block import DownEncoderBlock
from mflux.models.z_image.model.z_image_vae.vae import VAE
from mflux.models.z_image.variants.z_image import ZImage
from mlx import nn
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SEED = 7
GROUP = 64
"""Weights that share a scale when they are quantised."""

WIDTH = 128
"""Of one attention head, which mflux's rotary embeddings expect."""

TEXT_WIDTH = 64
"""Of FLUX.2's text encoder, which always reads 512 tokens."""


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
    if hasattr(model.transformer, "set_float32"):  # from later versions on
        model.transformer.set_float32(False)
    model.set_dtype(ModelConfig.precision)
    return finish(model, quantize)


def make_flux2(quantize):
    """Make a FLUX.2 klein pipeline of one double and two single blocks, as Z-Image above.

    The text encoder has 27 layers, because the pipeline takes the outputs of 9, 18 and 27.
    """
    mx.random.seed(SEED)
    model = Flux2Klein.__new__(Flux2Klein)
    nn.Module.__init__(model)
    model.model_config = ModelConfig.flux2_klein_4b()
    model.callbacks = CallbackRegistry()
    model.tiling_config = None
    model.prompt_cache = {}
    model.tokenizers = {"qwen3": make_tokenizer()}
    channels = (32, 32, 32, 32)
    model.vae = Flux2VAE()
    model.vae.decoder = Flux2Decoder(block_out_channels=channels, layers_per_block=1)
    model.vae.encoder = Flux2Encoder(block_out_channels=channels, layers_per_block=1)
    model.transformer = Flux2Transformer(
        num_layers=1,
        num_single_layers=2,
        num_attention_heads=2,
        joint_attention_dim=3 * TEXT_WIDTH,
    )
    model.text_encoder = Qwen3TextEncoder(
        vocab_size=256,
        hidden_size=TEXT_WIDTH,
        num_hidden_layers=27,
        num_attention_heads=1,
        num_key_value_heads=1,
        intermediate_size=TEXT_WIDTH,
        head_dim=64,
    )
    model.bits = quantize
    model.lora_paths = model.lora_scales = None
    model.small_text_encoder = model.small_decoder = False
    model.set_dtype(ModelConfig.precision)
    return finish(model, quantize)


def finish(model, quantize):
    """Quantise the transformer, and compute all weights.

    mflux quantises the text encoder too; on a CPU its 512 tokens would take minutes.
    """
    if quantize:
        nn.quantize(
            model.transformer,
            bits=quantize,
            class_predicate=lambda _, part: (
                hasattr(part, "to_quantized") and part.weight.shape[-1] % GROUP == 0
            ),
        )
    try:
        from mflux.models.common.compute_precision import ComputePrecision
    except ImportError:  # older mflux has no choice of it
        pass
    else:
        model.compute_precision = ComputePrecision(None)
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
    encoder = vae.encoder
    encoder.conv_in = encoder_in.ConvIn(in_channels=3, out_channels=32)
    encoder.down_blocks = [
        DownEncoderBlock(in_channels=32, out_channels=32, num_layers=1, add_downsample=number < 3)
        for number in range(4)
    ]
    encoder.mid_block = UNetMidBlock(channels=32)
    encoder.conv_norm_out = encoder_norm.ConvNormOut(num_channels=32, num_groups=32)
    encoder.conv_out = encoder_out.ConvOut(in_channels=32, out_channels=32)
    return vae


def make_tokenizer():
    """Make a tokenizer of single bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=bytes_only, pad_token=alphabet[0])
    return LanguageTokenizer(fast, max_length=64)
