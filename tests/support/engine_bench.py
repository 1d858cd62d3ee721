"""The tiny pipelines, made smaller still, for engines that convert their parts."""

from functools import partial

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from evidence.mapped_pipelines.parts import random_weights
from sdperf.engines.attaching import make_engine
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import EngineRequest
from sdperf.pipeline.families import family_of
from tests.support.tiny_pipelines import resolve, take

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

SMALLER_UNETS = {
    "sd": {"cross_attention_dim": 16, "down_block_types": ("CrossAttnDownBlock2D",)},
    "sdxl": {
        "down_block_types": ("DownBlock2D",),
        "cross_attention_dim": 16 + 24,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24 + 6 * 8,
    },
}


def shrink(pipeline, family, dtype):
    """Leave one block down and one up: exporting takes a second for every block of attention.

    The text encoder of Stable Diffusion 1.x keeps one layer; those of XL are read before the last.
    """
    weights = random_weights()
    if family == "sd":
        encoder = pipeline.text_encoder
        del next(one for one in encoder.modules() if hasattr(one, "layers")).layers[1:]
        encoder.config.num_hidden_layers = 1
    unet = partial(
        UNet2DConditionModel,
        sample_size=8,
        block_out_channels=(16,),
        up_block_types=("UpBlock2D",),
        mid_block_type=None,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        **SMALLER_UNETS[family],
    )
    vae = partial(
        AutoencoderKL,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        force_upcast=False,
    )
    pipeline.unet = weights.build(unet).to(dtype).eval()
    pipeline.vae = weights.build(vae).to(dtype).eval()
    return pipeline


class EngineBench:
    """Prepares parts of the tiny pipelines, all conversions in one cache."""

    def __init__(self, engine, tiny_folder, folder):
        self.engine, self.tiny_folder, self.folder = engine, tiny_folder, folder

    def load(self, family="sd", precision="fp32"):
        dtype = DTYPES[precision]
        return shrink(take(self.tiny_folder(family), dtype), family, dtype)

    def split(self, pipeline, *names):
        family = family_of(pipeline)
        parts = split_pipeline(pipeline, family=family, height=32, width=32, guided=True)
        return [part for part in parts if not names or part.name in names]

    def request(self, engine=None, family="sd", precision="fp32", cache=None):
        return EngineRequest(
            choice=ENGINES[engine or self.engine],
            model=resolve(self.tiny_folder(family)),
            family=family,
            precision=precision,
            device="cpu",
            height=32,
            width=32,
            threads=1,
            cache=cache or EngineCache(self.folder),
        )

    def prepare(self, parts, **asked):
        request = self.request(**asked)
        engine = make_engine(request.choice, "cpu")
        return engine, engine.prepare(parts, request, lambda _: None)
