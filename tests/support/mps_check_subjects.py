"""Tiny Stable Diffusion pipelines, sound or with one fault each that a Mac would show."""

import copy
import threading
from functools import cache

import torch
from diffusers import PNDMScheduler, UniPCMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor

from evidence.mapped_pipelines.families import build_sd
from sdperf.models.loader import prepare_pipeline
from tests.support.engine_bench import shrink


@cache
def build_once(is_small):
    pipeline = build_sd()
    return shrink(pipeline, "sd", torch.float32) if is_small else pipeline


def sound(request, *, is_small=False):
    """Copy the pipeline: drawing its weights takes as long as recording a small one."""
    built = build_once(is_small)
    shared = {id(built.tokenizer): built.tokenizer}
    return prepare_pipeline(copy.deepcopy(built, shared)).to(request.torch_dtype)


class Float64Scheduler(PNDMScheduler):
    """Keeps its last step in float64, as a table from numpy would be."""

    def step(self, model_output, timestep, sample, **named):
        weight = torch.tensor([1.0], dtype=torch.float64)
        scaled = sample * weight.to(sample.device)
        return super().step(model_output, timestep, scaled.to(sample.dtype), **named)


def float64_scheduler(request):
    pipeline = sound(request, is_small=True)
    pipeline.scheduler = Float64Scheduler.from_config(pipeline.scheduler.config)
    return pipeline


def flow_unipc(request):
    """The scheduler of Wan, which multiplies by a number of its table as it lies there."""
    pipeline = sound(request, is_small=True)
    pipeline.scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True
    )
    return pipeline


def with_processor(request, processor, *, is_small=True):
    """Plant a fault in the attention; a small UNet has one block down and one up."""
    pipeline = sound(request, is_small=is_small)
    pipeline.unet.set_attn_processor(processor)
    return pipeline


class Faulty(AttnProcessor2_0):
    """Attention with something done to its input first."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def __call__(self, attn, hidden_states, *args, **named):
        return super().__call__(attn, self.fault(hidden_states), *args, **named)


def unsupported(request):
    def fault(states):
        return states + torch.linalg.eigvals(states[:1, :4, :4].float()).real.sum().to(states.dtype)

    return with_processor(request, Faulty(fault))


def complex_rotation(request):
    def fault(states):
        angles = torch.ones(1, device=states.device, dtype=torch.complex128)
        return states * angles.real.to(states.dtype)

    return with_processor(request, Faulty(fault))


def integer_product(request):
    def fault(states):
        ones = torch.ones(2, 2, dtype=torch.int64, device=states.device)
        return states + torch.nn.functional.linear(ones, ones).sum().to(states.dtype) * 0

    return with_processor(request, Faulty(fault))


def two_devices(request):
    def fault(states):
        return states + torch.zeros(states.shape[-1], dtype=states.dtype)

    return with_processor(request, Faulty(fault))


def second_thread(request):
    def fault(states):
        result = []
        thread = threading.Thread(target=lambda: result.append(states * 1))
        thread.start()
        thread.join()
        return result[0]

    return with_processor(request, Faulty(fault))


def short_strided_attention(request):
    def fault(states):
        query = states.new_zeros(1, 4, 2, 64).transpose(1, 2)
        return states + torch.nn.functional.scaled_dot_product_attention(query, query, query).sum()

    return with_processor(request, Faulty(fault))


def strided_weight(request):
    def fault(states):
        weight = states.new_zeros(states.shape[-1], states.shape[-1]).t()
        return states + torch.nn.functional.linear(states, weight)

    return with_processor(request, Faulty(fault))


def oversized_attention(request):
    def fault(states):
        query = torch.empty(2, 8, 16384, 40, dtype=states.dtype, device=states.device)
        return states + torch.nn.functional.scaled_dot_product_attention(query, query, query).sum()

    return with_processor(request, Faulty(fault))


def sliced_attention(request):
    return with_processor(request, SlicedAttnProcessor(1))


def chunked_convolution(request):
    def fault(states):
        image = states.new_zeros(2, 4, 8, 8)
        half = image.chunk(2, dim=1)[1]
        return states + torch.nn.functional.conv2d(half, states.new_zeros(1, 2, 3, 3)).sum()

    return with_processor(request, Faulty(fault))


def channels_last_unet(request):
    pipeline = sound(request)
    pipeline.unet.to(memory_format=torch.channels_last)
    return pipeline


def device_noise(request):
    def fault(states):
        return states + torch.randn(states.shape, dtype=states.dtype, device=states.device) * 0

    return with_processor(request, Faulty(fault))


def causal_text_encoder(request):
    """Attends with ``is_causal`` in the text encoder; transformers 4.56 passes a mask instead."""
    pipeline = sound(request, is_small=True)
    layer = next(one for one in pipeline.text_encoder.modules() if type(one).__name__ == "CLIPMLP")
    plain = layer.forward

    def forward(states):
        query = states.new_zeros(1, 2, states.shape[1], 16)
        attend = torch.nn.functional.scaled_dot_product_attention
        return plain(states) + attend(query, query, query, is_causal=True).sum()

    layer.forward = forward
    return pipeline


def hidden_kernel(request):
    def fault(states):
        return states + torch.kthvalue(states.flatten().float(), 2).values.to(states.dtype) * 0

    return with_processor(request, Faulty(fault))


def needs_values(request):
    def fault(states):
        return states * float(states.float().abs().max() > 0)

    return with_processor(request, Faulty(fault))


def attend(states, *sizes, key=None, value=None, mask=None, dtype=None):
    """Attend to made-up tensors; sizes are batch, heads, positions and numbers a head."""
    query = states.new_zeros(*sizes, dtype=dtype)
    made = [states.new_zeros(*each, dtype=dtype) if each else query for each in (key, value)]
    function = torch.nn.functional.scaled_dot_product_attention
    return states + function(query, *made, attn_mask=mask).sum().to(states.dtype) * 0


def transposed_bfloat16(states):
    weight = states.new_zeros(8, 16, dtype=torch.bfloat16).t()
    source = states.new_zeros(1, 2, 8, dtype=torch.bfloat16)
    return states + torch.nn.functional.linear(source, weight).sum().to(states.dtype)


def linear_of(*sizes, bias, rows=8):
    def fault(states):
        weight = torch.empty(rows, sizes[-1], dtype=states.dtype, device=states.device)
        added = states.new_zeros(rows) if bias else None
        source = torch.empty(*sizes, dtype=states.dtype, device=states.device)
        return states + torch.nn.functional.linear(source, weight, added).sum() * 0

    return fault


def padded_frames(states):
    frames = torch.empty(1, 1, 2, 256, 256, dtype=states.dtype, device=states.device)
    return states + torch.nn.functional.pad(frames, (0, 0, 0, 0, 1, 0)).sum() * 0


def volume_convolution(states):
    frames = states.new_zeros(1, 1, 2, 4, 4)
    return states + torch.nn.functional.conv3d(frames, states.new_zeros(1, 1, 1, 1, 1)).sum()


def large_cat(states):
    part = torch.empty(2**15, 2**15, dtype=states.dtype, device=states.device)
    return states + torch.cat([part, part], dim=1)[0, 0] * 0


def large_mixed_cat(states):
    part = torch.empty(2**15, 2**15, dtype=states.dtype, device=states.device)
    return states + torch.cat([part, torch.empty_like(part, dtype=torch.float32)], 1)[0, 0] * 0


def sum_of_many_terms(states):
    left = torch.empty(1, 16, 32767, dtype=states.dtype, device=states.device)
    return states + torch.bmm(left, left.mT.contiguous()).sum() * 0


def product_of_many_matrices(states):
    scores = torch.empty(2**16 + 1, 256, 256, dtype=states.dtype, device=states.device)
    return states + torch.bmm(scores, scores[:, :, :1].contiguous()).sum() * 0


def large_strided_product(states):
    left = torch.empty(2, 2**16, 4, dtype=states.dtype, device=states.device)
    right = torch.empty(2, 2**15 + 1, 4, dtype=states.dtype, device=states.device)
    return states + torch.bmm(left, right.mT)[0, 0, 0] * 0


def sliced_kernel(states):
    weight = states.new_zeros(2, 1, 3, 3, 3)
    image = states.new_zeros(1, 1, 8, 8)
    return states + torch.nn.functional.conv2d(image, weight[:, :, 1]).sum()


def unwaited_copy(states):
    return states + torch.zeros(1, dtype=states.dtype).to(states.device, non_blocking=True)


def multihead(states):
    module = torch.nn.MultiheadAttention(8, 2, batch_first=True, device="cpu").eval()
    module = module.to(states.device, states.dtype)
    row = states.new_zeros(1, 4, 8)
    return states + module(row, row, row, need_weights=False)[0].sum() * 0


def largest(states):
    return states + states.flatten().argmax() * 0


def scaled(states):
    return states.mul(1.0)


def scaled_by_a_table(states):
    return states * torch.ones(3, dtype=states.dtype)[1]


def middle_product(states):
    rows = torch.empty(1024, 16, dtype=states.dtype, device=states.device)
    return states + (rows @ states.new_zeros(16, 16)).sum() * 0


def root_norm(states):
    weight = states.new_ones(states.shape[-1])
    return torch.nn.functional.rms_norm(states, (states.shape[-1],), weight)


def faulty(fault):
    """Make a subject whose attention does something to its input first."""
    return lambda request: with_processor(request, Faulty(fault))


def compiled(request):
    """Compile the UNet as a whole and, in their own ways, two blocks of the VAE and of it."""
    pipeline = with_processor(request, Faulty(root_norm), is_small=False)
    pipeline.unet.mid_block.compile()
    pipeline.vae.decoder.conv_in = torch.compile(pipeline.vae.decoder.conv_in)
    pipeline.unet = torch.compile(pipeline.unet)
    return pipeline


def raises(request):
    raise RuntimeError("boom")
