"""A subject that calls a parallel operator of torch on another thread, from its third image on."""

import threading

import torch

CLEAN_CALLS = 3


def make(request):
    pipeline = request.load()
    kind = type(pipeline)
    calls = []

    def call(self, *args, **named):
        calls.append(None)
        if len(calls) > CLEAN_CALLS:
            other = threading.Thread(target=lambda: torch.randn(400, 400) @ torch.randn(400, 400))
            other.start()
            other.join()
        return kind.__call__(self, *args, **named)

    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return pipeline
