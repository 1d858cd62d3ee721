"""Time the calls and print milliseconds, the fastest of three series."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from evidence.network_calls.kernels import divide_by_kind, list_kernels
from evidence.random_pipelines import build_sd15
from sdperf.measure.clock import timed
from sdperf.pipeline.optimisations.cuda_graphs import Graphed

SERIES: Final = 3
CALLS: Final = 20
BACKENDS: Final = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
)


def measure_ms(work: Callable[[], Any], calls: int = CALLS) -> float:
    """Return milliseconds a call, warmed up, the fastest of three series."""
    for _ in range(3):
        work()

    def run() -> None:
        for _ in range(calls):
            work()

    seconds = [timed(run, synchronize=torch.cuda.synchronize).duration_s for _ in range(SERIES)]
    return round(1e3 * min(seconds) / calls, 3)


def draw_inputs(batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Draw latents, a timestep and text embeddings of a batch."""
    generator = torch.Generator("cuda").manual_seed(0)
    latents, text = (
        torch.randn(shape, generator=generator, device="cuda", dtype=torch.float16)
        for shape in ((batch, 4, 64, 64), (batch, 77, 768))
    )
    return latents, torch.tensor(500, device="cuda"), text


def note_kernels(pipeline: Any, note: Callable[[str, Any], None]) -> None:
    """Note milliseconds by kind of kernel of the compiled networks, in NHWC and behind graphs."""
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    unet = torch.compile(pipeline.unet.forward, dynamic=False)
    decode = torch.compile(pipeline.vae.decoder.forward, dynamic=False)
    for batch in (2, 8):
        inputs = draw_inputs(batch)
        graphed = Graphed(lambda *given: unet(*given, return_dict=False)[0])
        note_call(f"unet{batch} compiled graph", lambda: graphed(*inputs), note)  # noqa: B023
        latents = torch.randn(batch // 2, 4, 64, 64, device="cuda", dtype=torch.float16)
        decoded = Graphed(decode)
        note_call(f"vae{batch // 2} compiled graph", lambda: decoded(latents), note)  # noqa: B023


def note_call(name: str, work: Callable[[], Any], note: Callable[[str, Any], None]) -> None:
    """Note how long a call takes, and what its kernels take by kind and by name."""
    note(name, measure_ms(work))
    kernels = list_kernels(work)
    note(f"{name}, all kernels", round(sum(ms for _, ms in kernels), 3))
    note(f"{name}, kernels by kind", divide_by_kind(kernels))
    note(f"{name}, longest kernels", [(key[:80], round(ms, 3)) for key, ms in kernels[:12]])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.network_calls", description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--no-compile", action="store_true", help="leave the minutes out")
    parser.add_argument(
        "--kernels", action="store_true", help="only compile, and list the kernels by kind"
    )
    asked = parser.parse_args()
    found: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        found[name] = value
        print(f"{name}: {value}", flush=True)
        if asked.json is not None:
            asked.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    pipeline = build_sd15(dtype=torch.float16, device="cuda")
    inputs = draw_inputs(2)

    def call(*given: torch.Tensor) -> torch.Tensor:
        predicted: torch.Tensor = pipeline.unet(*given, return_dict=False)[0]
        return predicted

    def measure_graph() -> float:
        graphed = Graphed(call)
        return measure_ms(lambda: graphed(*inputs))

    if asked.kernels:
        note_kernels(pipeline, note)
        return
    plain = call(*inputs)
    note("unet2 eager", measure_ms(lambda: call(*inputs)))
    note("unet2 graph", measure_graph())
    note("graph equal", torch.equal(Graphed(call)(*inputs), plain))
    for backend in BACKENDS:
        with sdpa_kernel(backend):
            note(f"unet2 graph {backend}", measure_graph())
    ids = torch.zeros(1, 77, dtype=torch.int64, device="cuda")
    text = Graphed(pipeline.text_encoder.forward)
    eager_text_ms = measure_ms(lambda: pipeline.text_encoder(ids))
    note("text eager, graph", (eager_text_ms, measure_ms(lambda: text(ids))))
    latents = torch.randn(1, 4, 64, 64, device="cuda", dtype=torch.float16)
    decode = pipeline.vae.decoder.forward
    note("vae eager", measure_ms(lambda: decode(latents), 5))
    recorded = Graphed(decode)
    note("vae graph", measure_ms(lambda: recorded(latents), 5))
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    note("unet2 graph cl", measure_graph())
    recorded_nhwc = Graphed(decode)
    note("vae graph cl", measure_ms(lambda: recorded_nhwc(latents), 5))
    for batch in (8, 16, 32):
        more = draw_inputs(batch)
        note(f"unet{batch} eager cl", measure_ms(lambda more=more: call(*more), 5))
    if not asked.no_compile:
        pipeline.unet.forward = torch.compile(pipeline.unet.forward, dynamic=False)
        first = timed(lambda: call(*inputs), synchronize=torch.cuda.synchronize)
        note("unet2 cl compile first s", round(first.duration_s, 1))
        note("unet2 cl compiled", measure_ms(lambda: call(*inputs)))
        note("unet2 cl compiled graph", measure_graph())
        difference = float((call(*inputs) - plain).abs().max())
        note("compiled max diff / ref max", (difference, float(plain.abs().max())))
        compiled = Graphed(torch.compile(decode, dynamic=False))
        note("vae cl compiled graph", measure_ms(lambda: compiled(latents), 5))


if __name__ == "__main__":
    main()
