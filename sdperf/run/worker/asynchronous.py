"""``async``: one thread owns the device; tokenising and delivery overlap its work.

On MPS a second thread on the GPU aborts the process, and on a processor a second thread that calls
torch halves the speed of the first, so every torch call stays on the one device thread on all
devices; what overlaps is the host's share of an image, in plain Python and numpy. On CUDA the
device thread does not wait for the pixels either: a host thread does, while the next call's work
is queued, so that the device has no gap between two calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from sdperf.measure.clock import Clock
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.separable import SeparableStages
from sdperf.pipeline.stages import Pixels, Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.workload import ImageRequest
from sdperf.run.worker.synchronous import Generated, divide_into_calls

IN_FLIGHT: Final = 3
"""Calls at once: one being tokenised, one on the device, one being delivered."""


async def generate_async(
    stages: Stages,
    ahead: TokenizeAhead,
    images: Sequence[ImageRequest],
    *,
    device_thread: Executor,
    host_threads: Executor,
    clock: Clock,
) -> list[Generated]:
    """Generate and deliver images, the host's work beside the device's.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        images: What to generate; results come in this order.
        device_thread: An executor of exactly one thread, the only one to call torch.
        host_threads: Where tokenising and PNG encoding run.
        clock: Returns seconds.
    """
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(IN_FLIGHT)

    async def generate(call: tuple[ImageRequest, ...]) -> list[Generated]:
        prompts = [request.prompt for request in call]
        async with places:
            await loop.run_in_executor(host_threads, ahead.prime, prompts)
            start_s, fetch = await loop.run_in_executor(device_thread, draw, call, prompts)
            pixels = await loop.run_in_executor(host_threads, fetch)
            delivered = (
                loop.run_in_executor(host_threads, deliver, pixels[index : index + 1], start_s)
                for index in range(len(call))
            )
            return list(await asyncio.gather(*delivered))

    def draw(
        call: tuple[ImageRequest, ...], prompts: list[str]
    ) -> tuple[float, Callable[[], Pixels]]:
        start_s = clock()
        noise = stages.draw_noise(call)
        if not isinstance(stages, SeparableStages):
            pixels = stages.run_whole(prompts, noise)
            return start_s, lambda: pixels
        latents = stages.denoise(stages.encode_prompt(prompts), noise)
        return start_s, stages.start_decoding(latents)

    def deliver(pixels: Pixels, start_s: float) -> Generated:
        png = stages.encode_png(to_uint8(pixels)[0])
        return Generated(png, clock() - start_s, pixels)

    calls = divide_into_calls(images, stages.images_per_call)
    generated = await asyncio.gather(*map(generate, calls))
    return [one for call in generated for one in call][: len(images)]
