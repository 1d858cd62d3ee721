"""The README's picture of a report: two committed runs, today's code, and a browser.

``python -m tools.readme_picture`` measures nothing. It draws the report of the runs beside
``docs/images/report.png`` again, takes a picture of its first screen with Chromium (``apt-get
install chromium chromium-driver``) and selenium, and writes the words of that screen beside them,
by which a test sees that the report says something else by now.

The two runs were measured by this command, of `plain` and then of `damaged`, with ``before.json``
and ``after.json``, while other programs took part of the processor; ``images`` is their
``.sdperf/images``:

  pytest benchmarks/test_latency.py benchmarks/test_throughput.py benchmarks/test_quality.py
  --sd-precision fp32 --sd-mode sync --sd-workers 1 --sd-rounds 7 --sd-images 2
  --sd-batch-rounds 3 --sd-subject tools.readme_picture:plain --benchmark-json before.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdperf.models.subject import PipelineRequest


def plain(request: PipelineRequest) -> Any:
    """Return the model's pipeline as it is."""
    return request.load()


def damaged(request: PipelineRequest) -> Any:
    """Return one that computes each step four times, and greys a tile of every picture."""
    pipeline = request.load()
    denoise, decode = pipeline.unet.forward, pipeline.vae.decode

    def denoise_again(*arguments: Any, **named: Any) -> Any:
        for _ in range(3):
            denoise(*arguments, **named)
        return denoise(*arguments, **named)

    def decode_with_a_fault(*arguments: Any, **named: Any) -> Any:
        decoded = decode(*arguments, **named)
        decoded[0][..., 32:64, 64:96] *= 0.2
        return decoded

    pipeline.unet.forward, pipeline.vae.decode = denoise_again, decode_with_a_fault
    return pipeline
