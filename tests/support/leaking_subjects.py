"""Subjects that leave something behind in their worker after each image."""

import threading

import torch


def _after_each_call(pipeline, leave):
    kind = type(pipeline)

    def call(self, *args, **named):
        output = kind.__call__(self, *args, **named)
        leave(self)
        return output

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return pipeline


def threads(request):
    return _after_each_call(request.load(), lambda _: torch.set_num_threads(3))


def scheduler(request):
    def leave(pipeline):
        from diffusers import DDIMScheduler

        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)

    return _after_each_call(request.load(), leave)


def scheduler_config(request):
    return _after_each_call(
        request.load(), lambda pipeline: pipeline.scheduler.register_to_config(beta_end=0.02)
    )


def deterministic(request):
    return _after_each_call(
        request.load(), lambda _: torch.use_deterministic_algorithms(True, warn_only=True)
    )


def default_dtype(request):
    return _after_each_call(request.load(), lambda _: torch.set_default_dtype(torch.float64))


def memory(request):
    kept = []
    # As large as this, the allocator maps each anew rather than hand out freed pages.
    return _after_each_call(
        request.load(), lambda _: kept.append(torch.ones(2**20, dtype=torch.uint8))
    )


def second_team(request):
    """Once some images are drawn, another thread calls torch and stays: a second OpenMP team."""
    drawn = []

    def leave(_):
        drawn.append(None)
        if len(drawn) == AFTER_IMAGES:
            threading.Thread(target=call_torch, daemon=True).start()

    def call_torch():
        torch.ones(2**22, dtype=torch.bfloat16).float()
        threading.Event().wait()

    return _after_each_call(request.load(), leave)


def nothing(request):
    return _after_each_call(request.load(), lambda _: None)


def works_twice_later(request):
    """After some images of its worker each image is drawn twice; the later cases pay for it."""
    pipeline = request.load()
    kind = type(pipeline)
    images = []

    def call(self, *args, **named):
        images.append(None)
        output = kind.__call__(self, *args, **named)
        if len(images) > AFTER_IMAGES:
            kind.__call__(self, *args, **named)
        return output

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return pipeline


AFTER_IMAGES = 14
"""Images of one pipeline after which `works_twice_later` and `second_team` begin to."""
