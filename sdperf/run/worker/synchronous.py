"""``sync``: one call of the pipeline after the other, on the calling thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdperf.measure.clock import Clock
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.stages import Pixels, Stages
from sdperf.record.workload import ImageRequest


@dataclass(frozen=True)
class Generated:
    """One delivered image, with the pixels it was made of.

    Attributes:
        png: The delivered bytes.
        latency_s: Seconds from the start of its generation to its delivery.
        pixels: (1, H, W, 3) float in [0, 1], before rounding; looked at after the timed border.
    """

    png: bytes
    latency_s: float
    pixels: Pixels


def generate_sync(stages: Stages, images: Sequence[ImageRequest], clock: Clock) -> list[Generated]:
    """Generate and deliver images, as many together as the stages ask for; one is the plain way."""
    generated: list[Generated] = []
    for call in divide_into_calls(images, stages.images_per_call):
        start_s = clock()
        noise = stages.draw_noise(call)
        pixels = stages.run_whole([request.prompt for request in call], noise)
        wanted = min(len(call), len(images) - len(generated))
        for index in range(wanted):
            png = stages.encode_png(to_uint8(pixels[index : index + 1])[0])
            generated.append(Generated(png, clock() - start_s, pixels[index : index + 1]))
    return generated


def divide_into_calls(
    images: Sequence[ImageRequest], images_per_call: int
) -> Iterator[tuple[ImageRequest, ...]]:
    """Divide images into calls of one size; the last is filled up with its own last image.

    A smaller call would be compiled and recorded again. Who asked for fewer images drops the rest.
    """
    for start in range(0, len(images), images_per_call):
        call = tuple(images[start : start + images_per_call])
        yield call + call[-1:] * (images_per_call - len(call))
