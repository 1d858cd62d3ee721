"""Subjects that make something else than they are asked for, each in one way."""

import torch


def plain(request):
    return request.load()


def half_size(request):
    return _call_with(request.load(), lambda named: {"height": 16, "width": 16, "latents": None})


def fewer_steps(request):
    return _call_with(
        request.load(), lambda named: {"num_inference_steps": named["num_inference_steps"] - 1}
    )


def no_guidance(request):
    return _call_with(request.load(), lambda named: {"guidance_scale": 0.0})


def bf16_inside(request):
    pipeline = request.load()
    unet = pipeline.unet.to(torch.bfloat16)
    forward = unet.forward

    def widened(sample, timestep, **named):
        named["encoder_hidden_states"] = named["encoder_hidden_states"].bfloat16()
        return tuple(one.float() for one in forward(sample.bfloat16(), timestep, **named))

    unet.forward = widened
    return pipeline


def other_scheduler(request):
    from diffusers import DDIMScheduler

    pipeline = request.load()
    kind = type(pipeline)
    call = kind.__call__

    def replaced(self, *args, **named):
        self.scheduler = DDIMScheduler.from_config(self.scheduler.config)
        return call(self, *args, **named)

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": replaced})
    return pipeline


def another_scheduler_from_the_start(request):
    from diffusers import DDIMScheduler

    pipeline = request.load()
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    return pipeline


def own_scheduler(request):
    pipeline = request.load()
    own = type("Own", (type(pipeline.scheduler),), {})
    pipeline.scheduler = own.from_config(pipeline.scheduler.config)
    return pipeline


def keeps_no_channels_last(request):
    pipeline = request.load()
    pipeline.unet.to = lambda *_args, **_named: pipeline.unet
    return pipeline


def everything(request):
    """Another size, fewer steps, no guidance, another precision, and no NHWC."""
    pipeline = bf16_inside(request)
    unet = pipeline.unet
    unet.to = lambda *_args, **_named: unet
    return _call_with(
        pipeline,
        lambda named: {
            "height": 16,
            "width": 16,
            "latents": None,
            "guidance_scale": 0.0,
            "num_inference_steps": named["num_inference_steps"] - 1,
        },
    )


EVERYTHING = (
    "asked for 4 steps (5 of this scheduler), executed 4",
    "asked for 32 x 32 px, drawn 16 x 16 px",
    "asked for guidance on, executed with guidance off",
    "asked for denoiser's weights in fp32, executed bf16",
    "asked for channels_last, executed without",
)
"""What a worker says of `everything`, asked for four steps of the tiny pipeline."""


def _call_with(pipeline, change):
    kind = type(pipeline)

    def __call__(self, *args, **named):
        return kind.__call__(self, *args, **{**named, **change(named)})

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": __call__})
    return pipeline


def negate_step(pipeline, wrong):
    """Let the scheduler take one step, 0 first, from the denoiser's output with the other sign."""
    step, made = pipeline.scheduler.step, []

    def broken(output, *arguments, **named):
        made.append(1)
        return step(-output if len(made) == wrong + 1 else output, *arguments, **named)

    pipeline.scheduler.step = broken
