"""Pipelines with what the threads are about: tiny, with random weights unless said otherwise.

Each is a subject of ``sdperf sweep``, named in ``regressions.toml``. They import what they need
when they are called, because not every version has everything.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sdperf.models.subject import PipelineRequest

_PICTURE_TOKENS: Final = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
_PLACE: Final = "<|image_pad|>"
"""Where Qwen-Image-Edit's prompt has the picture; the processor repeats it once a patch."""

_PICTURE_PX: Final = 56
"""Height and width of the picture that is edited: two by two patches of the text encoder."""


def gemma_prompts(request: PipelineRequest) -> Any:
    """Make Lumina 2, whose text encoder is a Gemma 2 that caps what attention adds up."""
    from evidence.mapped_pipelines.recent import build_lumina2

    pipeline = build_lumina2()
    scale_attention(pipeline.text_encoder)
    return pipeline.to(request.device, request.torch_dtype)


def scale_attention(text_encoder: Any, factor: float = 6.0) -> None:
    """Make attention choose, as a trained encoder's does: of sums near 0 it takes the mean.

    Where every token counts alike, neither a cap nor a position changes anything.

    Args:
        text_encoder: Changed in place: weights of queries and keys times ``factor``.
        factor: Makes the sums as large as a trained Gemma 2's, which its cap of 50 is there for.
    """
    scale_weights(text_encoder, ("q_proj", "k_proj"), factor)


def scale_weights(network: Any, names: tuple[str, ...], factor: float) -> None:
    """Multiply the weights in whose names one of some words is, in place."""
    import torch

    with torch.no_grad():
        for name, weight in network.named_parameters():
            if any(word in name for word in names):
                weight.mul_(factor)


def z_image(request: PipelineRequest) -> Any:
    """Make Z-Image."""
    from evidence.mapped_pipelines.recent import build_z_image

    return build_z_image().to(request.device, request.torch_dtype)


def stochastic_flow(request: PipelineRequest) -> Any:
    """Make Stable Diffusion 3 with a scheduler that adds noise at each step."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from evidence.mapped_pipelines.families import build_sd3

    pipeline = build_sd3(with_t5=False)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True)
    return pipeline.to(request.device, request.torch_dtype)


def free_u(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with FreeU on."""
    pipeline = request.load()
    pipeline.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    return pipeline


def single_file(request: PipelineRequest) -> Any:
    """Make the model that is asked for, its text encoder read as out of one file of the old form.

    That is the thread's own reproduction: weights named ``cond_stage_model.transformer.*``.
    """
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    pipeline = request.load()
    encoder = pipeline.text_encoder
    prefix = "cond_stage_model.transformer."
    # CLIPTextModel had its parts below text_model until transformers 5.6; such files still have.
    checkpoint = {
        prefix + (name if name.startswith("text_model.") else f"text_model.{name}"): weight
        for name, weight in encoder.state_dict().items()
    }
    pipeline.text_encoder = create_diffusers_clip_model_from_ldm(
        type(encoder),
        checkpoint,
        config=str(request.model.folder),
        subfolder="text_encoder",
        torch_dtype=request.torch_dtype,
        local_files_only=True,
    ).to(request.device)
    return pipeline


def qwen_image_edit(request: PipelineRequest) -> Any:
    """Make Qwen-Image-Edit, which brings the picture that it edits.

    What the denoiser takes from the text is scaled up: with random weights it barely heeds it, and
    positions of the picture's tokens are all that the thread's versions differ in.
    """
    import torch
    from diffusers import QwenImageEditPipeline
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as module
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from evidence.mapped_pipelines.parts import HIDDEN, SHAPE, random_weights
    from evidence.mapped_pipelines.recent import build_qwen_image

    # Its call enlarges every picture to a million pixels first, which takes minutes on a processor.
    module.calculate_dimensions = lambda _area, _ratio: (_PICTURE_PX, _PICTURE_PX, None)

    class EditsOnePicture(QwenImageEditPipeline):  # type: ignore[misc]
        """Is called with a prompt alone."""

        @functools.wraps(QwenImageEditPipeline.__call__, assigned=())
        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return super().__call__(draw_picture(), *arguments, **named)

    parts = build_qwen_image()
    tokenizer = parts.tokenizer
    tokenizer.model_max_length = 1024
    tokenizer.add_special_tokens({"additional_special_tokens": [*_PICTURE_TOKENS, _PLACE]})
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image_token_id": _PLACE,
            "vision_start_token_id": "<|vision_start|>",
            "vision_end_token_id": "<|vision_end|>",
        }.items()
    }
    text = {
        **SHAPE,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 2,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0],
    }
    with torch.random.fork_rng():
        encoder = random_weights().build(
            lambda: Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
            )
        )
    scale_attention(encoder)
    scale_weights(parts.transformer, ("add_v_proj",), 20.0)
    pipeline = EditsOnePicture(
        scheduler=parts.scheduler,
        vae=parts.vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        processor=WordsAndPatches(tokenizer),
        transformer=parts.transformer,
    )
    return pipeline.to(request.device, request.torch_dtype)


def draw_picture() -> Any:
    """Draw the picture that is edited: a gradient, as a Pillow image."""
    import numpy as np
    from PIL import Image

    ramp = np.linspace(0, 255, _PICTURE_PX)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 128.0), axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


class WordsAndPatches:
    """What Qwen2VLProcessor does with a text and a picture, without torchvision.

    Diffusers hands on four of the things that a processor gives, and so does this: newer ones also
    give ``mm_token_type_ids``, whose loss the thread is about.

    Args:
        tokenizer: Knows the token of a patch.
    """

    def __init__(self, tokenizer: Any) -> None:
        try:
            from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
                Qwen2VLImageProcessorPil as Patches,
            )
        except ImportError:  # before transformers 5.4 the only one of them was that of Pillow
            from transformers.models.qwen2_vl.image_processing_qwen2_vl import (
                Qwen2VLImageProcessor as Patches,
            )
        self.tokenizer = tokenizer
        self.image_processor = Patches(min_pixels=_PICTURE_PX**2, max_pixels=_PICTURE_PX**2)

    def __call__(self, text: list[str], images: Any, **_: Any) -> Any:
        patches = self.image_processor(images=images, return_tensors="pt")
        count = int(patches["image_grid_thw"][0].prod()) // self.image_processor.merge_size**2
        words = self.tokenizer(
            [one.replace(_PLACE, _PLACE * count) for one in text],
            padding=True,
            return_tensors="pt",
        )
        words["pixel_values"] = patches["pixel_values"].repeat(len(text), 1)
        words["image_grid_thw"] = patches["image_grid_thw"].repeat(len(text), 1)
        return words


def convolution_of_two(request: PipelineRequest) -> Any:
    """Make the model that is asked for, its latents sent through onnxruntime before decoding.

    They pass a three-dimensional convolution that leaves them as they are, two samples at once, in
    a process whose address space may grow by `_ROOM_BYTES` while it runs, as a batch system limits
    it. The thread is about the room that the convolution asks for and never fills.
    """
    import torch

    pipeline = request.load()
    convolve = _open_convolution()
    decode = pipeline.vae.decode

    def decode_convolved(latents: Any, *arguments: Any, **named: Any) -> Any:
        passed = torch.from_numpy(convolve(latents.float().numpy())).to(latents)
        return decode(passed, *arguments, **named)

    pipeline.vae.decode = decode_convolved
    return pipeline


_CHANNELS: Final = 64
_FRAMES: Final = 8
_SIDE: Final = 64
_ROOM_BYTES: Final = 300 << 20


def _open_convolution() -> Any:
    """Return a function that sends latents through the convolution, one sample after another."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((_CHANNELS, _CHANNELS, 3, 3, 3), np.float32)
    weights[range(_CHANNELS), range(_CHANNELS), 1, 1, 1] = 1.0
    shape = [2, _CHANNELS, _FRAMES, _SIDE, _SIDE]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["given", "weights"], ["convolved"], pads=[1] * 6),
            helper.make_node("LeakyRelu", ["convolved"], ["passed"], alpha=1.0),
        ],
        "convolution",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("passed", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2  # the room is asked for once a thread
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def convolve(latents: Any) -> Any:
        passed = []
        for sample in latents:
            given = np.zeros(shape, np.float32)
            channels, height, width = sample.shape
            given[0, :channels, 0, :height, :width] = sample
            with limited_room(_ROOM_BYTES):
                (found,) = session.run(None, {"given": given})
            passed.append(found[0, :channels, 0, :height, :width])
        return np.stack(passed)

    return convolve


@contextlib.contextmanager
def limited_room(most_bytes: int) -> Iterator[None]:
    """Let the address space of this process grow by so much and no further; on Linux."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + most_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def mixed_rank_lora(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with a LoRA of two ranks and no alphas.

    Of the attention's projections of queries, keys, values and outputs, most have rank 2 and the
    first rank 16.
    """
    import torch

    pipeline = request.load()
    generator = torch.Generator().manual_seed(7)
    weights = {}
    named = [
        (name, module)
        for name, module in pipeline.unet.named_modules()
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0"))
    ]
    for name, module in named:
        rank = 16 if name == named[0][0] else 2
        wide, narrow = module.in_features, module.out_features
        weights[f"unet.{name}.lora_A.weight"] = torch.randn(rank, wide, generator=generator) * 0.2
        weights[f"unet.{name}.lora_B.weight"] = torch.randn(narrow, rank, generator=generator) * 0.2
    pipeline.load_lora_weights(weights)
    return pipeline.to(request.device, request.torch_dtype)


def lora_of_the_first_layers(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with a Kohya LoRA of its first layers and one more."""
    pipeline = request.load()
    unet = pipeline.unet
    layers = {
        "conv_in": unet.conv_in,
        "time_embedding_linear_1": unet.time_embedding.linear_1,
        "time_embedding_linear_2": unet.time_embedding.linear_2,
        "down_blocks_0_resnets_0_time_emb_proj": unet.down_blocks[0].resnets[0].time_emb_proj,
    }
    weights: dict[str, Any] = {}
    for name, layer in layers.items():
        weights |= _draw_kohya(f"lora_unet_{name}", layer)
    pipeline.load_lora_weights(weights)
    return pipeline.to(request.device, request.torch_dtype)


def lora_without_network(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with a LoRA out of a folder while the hub is not asked."""
    from diffusers.loaders import lora_base
    from safetensors.torch import save_file

    pipeline = request.load()
    layer = pipeline.unet.down_blocks[0].resnets[0].time_emb_proj
    lora_base.HF_HUB_OFFLINE = True
    with tempfile.TemporaryDirectory(prefix="sdperf-lora-") as folder:
        name = "lora_unet_down_blocks_0_resnets_0_time_emb_proj"
        save_file(_draw_kohya(name, layer), Path(folder) / "pytorch_lora_weights.safetensors")
        pipeline.load_lora_weights(folder)
    return pipeline.to(request.device, request.torch_dtype)


def _draw_kohya(name: str, layer: Any, rank: int = 4) -> dict[str, Any]:
    """Draw a layer's LoRA in the names of kohya-ss, always the same.

    Args:
        name: Of the layer there.
        layer: A linear layer or a convolution.
        rank: Its rank, and its alpha.
    """
    import torch

    generator = torch.Generator().manual_seed(7)
    out, into, *kernel = layer.weight.shape
    return {
        f"{name}.alpha": torch.tensor(float(rank)),
        f"{name}.lora_down.weight": torch.randn(rank, into, *kernel, generator=generator) * 0.2,
        f"{name}.lora_up.weight": torch.randn(out, rank, *(1 for _ in kernel), generator=generator)
        * 0.2,
    }


def many_added_tokens(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with a Python tokenizer whose characters are added tokens.

    So are those of models for Chinese prompts: one token a character, thousands of them added.
    """
    from evidence.known_regressions.tokenizing import make_character_tokenizer

    pipeline = request.load()
    rows = pipeline.text_encoder.config.vocab_size
    pipeline.tokenizer = make_character_tokenizer(pipeline.tokenizer.model_max_length, rows)
    return pipeline


def dilated_convolution(request: PipelineRequest) -> Any:
    """Make the model that is asked for, with the thread's convolution run before it decodes.

    Eight samples of 16 channels, 112 by 112, through 32 dilated kernels of 7 by 7. What comes out
    is added to the latents times zero.
    """
    import torch

    pipeline = request.load()
    generator = torch.Generator().manual_seed(0)
    given, weights = (
        torch.randn(*shape, generator=generator).to(request.device, request.torch_dtype)
        for shape in ((8, 16, 112, 112), (32, 16, 7, 7))
    )
    decode = pipeline.vae.decode

    def decode_after(latents: Any, *arguments: Any, **named: Any) -> Any:
        found = torch.nn.functional.conv2d(given, weights, dilation=2)
        return decode(latents + 0.0 * found[0, 0, 0, 0], *arguments, **named)

    pipeline.vae.decode = decode_after
    return pipeline
