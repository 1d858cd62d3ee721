"""A LoRA, another attention, compiling, and pipelines that change a picture."""

import pytest
import torch
from diffusers import (
    AutoencoderKLLTXVideo,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from transformers import T5EncoderModel

from evidence.mapped_pipelines.families import build_flux, build_sd
from evidence.mapped_pipelines.parts import flow_scheduler, random_weights, t5_config
from evidence.mapped_pipelines.recent import build_lumina2
from evidence.random_pipelines.tokenizers import build_t5_tokenizer
from sdperf.errors import ConfigurationError, ModelError
from sdperf.mps_check.dispatch import load_dispatch_table
from sdperf.mps_check.preparing import (
    choose_attention,
    load_lora,
    made_as_on_a_mac,
    makes_a_video,
    mark_compiled,
    takes_a_picture,
)
from sdperf.mps_check.recording import record_generation
from sdperf.record.workload import Workload


def record(pipeline, guidance=2.0, **fields):
    workload = Workload("tiny", ("red apple",), 1, guidance_scale=guidance, **fields)
    table = load_dispatch_table("2.14", "0")
    return record_generation(pipeline.to(torch.float16), workload, table, precision="fp16")


def names(recording):
    return {call.name for call in recording.calls}


@pytest.mark.parametrize("kind", [StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline])
def test_a_pipeline_that_changes_a_picture_is_recorded_with_its_encoder(kind):
    pipeline = kind(**build_sd().components, requires_safety_checker=False)
    assert takes_a_picture(pipeline)
    recording = record(pipeline, height=32, width=32)
    assert (recording.height, recording.width) == (32, 32)
    modules = {call.module for call in recording.calls}
    for part in ("vae.encoder", "unet.mid_block", "vae.decoder", "text_encoder"):
        assert any(module.startswith(part) for module in modules), part


def test_pipelines_that_start_from_noise_are_told_from_those():
    assert not takes_a_picture(build_sd())
    assert not takes_a_picture(build_flux())
    assert not makes_a_video(build_sd())


def dtypes(recording):
    return {each.dtype for call in recording.calls for each in (*call.inputs, *call.outputs)}


def test_tables_of_a_network_are_those_that_it_makes_on_a_mac():
    """Elsewhere Lumina 2 keeps complex128 from the moment that it is made."""
    assert "complex128" in dtypes(record(build_lumina2(), 1.0, height=64, width=64))
    with made_as_on_a_mac():
        pipeline = build_lumina2()
    assert not dtypes(record(pipeline, 1.0, height=64, width=64)) & {"complex128", "float64"}


def test_code_of_ones_own_sees_what_this_machine_has():
    before = torch.backends.mps.is_available()
    with made_as_on_a_mac():
        assert torch.backends.mps.is_available() == before


def build_ltx():
    weights = random_weights()
    vae = {
        "latent_channels": 8,
        "block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8, 8),
        "layers_per_block": (1, 1, 1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1, 1, 1),
    }
    transformer = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 1}
    return LTXPipeline(
        transformer=weights.build(
            lambda: LTXVideoTransformer3DModel(
                in_channels=8,
                out_channels=8,
                cross_attention_dim=32,
                caption_channels=16,
                **transformer,
            )
        ),
        vae=weights.build(lambda: AutoencoderKLLTXVideo(**vae)),
        text_encoder=weights.build(lambda: T5EncoderModel(t5_config(16))),
        tokenizer=build_t5_tokenizer(24),
        scheduler=flow_scheduler(),
    )


def test_a_pipeline_that_makes_a_video_is_recorded_in_its_own_length():
    pipeline = build_ltx()
    assert makes_a_video(pipeline)
    recording = record(pipeline, height=64, width=96)
    assert (recording.height, recording.width, recording.frames) == (64, 96, 161)
    modules = {call.module.partition(".")[0] for call in recording.calls}
    assert modules >= {"text_encoder", "transformer", "vae"}
    assert any(
        call.name == "convolution" and len(call.inputs[0].shape) == 5 for call in recording.calls
    )


def test_sliced_attention_takes_other_operators():
    plain, sliced = build_sd(), build_sd()
    choose_attention(sliced, "sliced")
    attention = "_scaled_dot_product_attention_math_for_mps"
    of_unet = {call.name for call in record(sliced).calls if call.module.startswith("unet")}
    assert attention in names(record(plain))
    assert attention not in of_unet
    assert "baddbmm" in of_unet


def test_a_backend_of_diffusers_is_taken_and_an_unknown_one_refused():
    pipeline = build_flux()
    choose_attention(pipeline, "_native_math")
    assert record(pipeline).operators > 100
    with pytest.raises(ConfigurationError, match=r"attention cannot be taken here.*warp"):
        choose_attention(pipeline, "warp")


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own import
def test_a_network_that_is_called_compiled_is_recorded_so():
    pipeline = build_sd()
    mark_compiled(pipeline)
    compiled = {
        call.module.partition(".")[0] for call in record(pipeline).calls if call.is_compiled
    }
    assert compiled == {"unet"}


def test_a_lora_is_a_file_of_safetensors(tmp_path):
    with pytest.raises(ConfigurationError, match="--sd-lora names no file"):
        load_lora(build_sd(), str(tmp_path / "style.safetensors"))
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match=r"style\.safetensors is truncated"):
        load_lora(build_sd(), f"{path}:0.8")
