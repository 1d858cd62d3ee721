"""Tiny Stable Diffusion pipelines, sound or with one fault each that a Mac would show."""

import threading

import torch
from diffusers import PNDMScheduler
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor

from evidence.mapped_pipelines.families import build_sd
from sdperf.models.loader import prepare_pipeline


def sound(request):
    return prepare_pipeline(build_sd()).to(request.torch_dtype)


class Float64Scheduler(PNDMScheduler):
    """Keeps its last step in float64, as a table from numpy would be."""

    def step(self, model_output, timestep, sample, **named):
        weight = torch.tensor([1.0], dtype=torch.float64)
        scaled = sample * weight.to(sample.device)
        return super().step(model_output, timestep, scaled.to(sample.dtype), **named)


def float64_scheduler(request):
    pipeline = sound(request)
    pipeline.scheduler = Float64Scheduler.from_config(pipeline.scheduler.config)
    return pipeline


def with_processor(request, processor):
    pipeline = sound(request)
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


def hidden_kernel(request):
    def fault(states):
        return states + torch.kthvalue(states.flatten().float(), 2).values.to(states.dtype) * 0

    return with_processor(request, Faulty(fault))


def needs_values(request):
    def fault(states):
        return states * float(states.float().abs().max() > 0)

    return with_processor(request, Faulty(fault))
