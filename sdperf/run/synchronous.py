"""``sync``: the plain diffusers call, one image at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sdperf.measure.clock import Clock
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.stages import Stages
from sdperf.png import encode_png
from sdperf.run.generated import Generated
from sdperf.workload import ImageRequest


def generate_sync(stages: Stages, images: Sequence[ImageRequest], clock: Clock) -> list[Generated]:
    """Generate and deliver images one after the other, on the calling thread."""
    generated = []
    for request in images:
        start_s = clock()
        noise = stages.draw_noise([request])
        pixels = stages.run_whole([request.prompt], noise)
        png = encode_png(to_uint8(pixels)[0])
        generated.append(Generated(png, clock() - start_s, pixels))
    return generated
