"""Record unchanged code on this machine as it is, however noisy: sessions and paired blocks.

Run as ``python -m evidence.gate_power.record --beside TEXT --out FILE``. Every session is a fresh
process that measures 60 short pieces of real work (the embedded model's denoiser, decoder and text
encoder at several sizes), one case after the other, as the suite does. Then the same process (A)
and a second fresh one (B) take turns at each case in ABBA and BAAB order. Nothing differs between
any two processes: whatever the numbers say is the machine's doing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from sdperf.measure.clock import timed
from sdperf.run.hosts.local import SpawnedHost
from sdperf.stats.paired import choose_block_order
from sdperf.store.files import write_atomically

ROUNDS = 10
CASES = (
    *(f"unet[{size}-{images}]" for images in (1, 2) for size in range(4, 14)),
    *(f"vae[{size}-{images}]" for images in (1, 2, 3) for size in range(2, 8)),
    *(f"text[{prompts}]" for prompts in range(4, 26)),
)
"""Name of the part, edge of the latents and images at once; prompts at once for the encoder."""

_works: dict[str, Callable[[], object]] = {}


def load() -> int:
    """Load the embedded model in this process and warm every case up; returns their number."""
    import torch

    from sdperf.models.loader import load_pipeline, resolve_model

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    pipeline = load_pipeline(resolve_model("embedded"), torch_dtype=torch.float32, device="cpu")
    length = pipeline.text_encoder.config.max_position_embeddings
    width = pipeline.unet.config.cross_attention_dim

    def make(case: str) -> Callable[[], object]:
        kind, _, rest = case.rstrip("]").partition("[")
        numbers = [int(number) for number in rest.split("-")]
        if kind == "text":
            tokens = torch.ones(numbers[0], length, dtype=torch.long)
            return lambda: pipeline.text_encoder(tokens)
        size, images = numbers
        latents = torch.zeros(images, 4, size, size)
        if kind == "vae":
            return lambda: pipeline.vae.decode(latents)
        embeds = torch.zeros(images, length, width)
        return lambda: pipeline.unet(latents, 500, embeds)

    for case in CASES:
        _works[case] = make(case)
        _works[case]()
    return len(_works)


def measure(case: str, rounds: int) -> list[float]:
    """Time a case in this process, seconds."""
    work = _works[case]
    return [timed(work, synchronize=lambda: None).duration_s for _ in range(rounds)]


def record_session(number: int) -> tuple[list[list[float]], list[list[float]], str]:
    """Measure one session and one block a case; both processes are new and end here."""
    hosts = {"A": SpawnedHost(), "B": SpawnedHost()}
    try:
        loading = [host.executor.submit(load) for host in hosts.values()]
        for future in loading:
            future.result()
        session = [hosts["A"].executor.submit(measure, case, ROUNDS).result() for case in CASES]
        order = choose_block_order(number)
        blocks = [
            [hosts[arm].executor.submit(measure, case, 1).result()[0] for arm in order]
            for case in CASES
        ]
    finally:
        for host in hosts.values():
            host.kill()
    return session, blocks, order


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.gate_power.record", description=__doc__
    )
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=12, help="start no session after this")
    parser.add_argument("--beside", required=True, help="what else ran on the machine")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sessions, blocks, orders, loads = [], [], [], []
    started_s = time.monotonic()
    for number in range(options.sessions):
        if time.monotonic() - started_s > options.minutes * 60:
            break
        session, block, order = record_session(number)
        sessions.append(_round(session))
        blocks.append(_round(block))
        orders.append(order)
        loads.append(round(os.getloadavg()[0], 2))
        elapsed_s = time.monotonic() - started_s
        print(f"session {number + 1}: {elapsed_s:.0f} s, load {loads[-1]}", flush=True)
    document = {
        "command": "python -m evidence.gate_power.record",
        "work": "denoiser, decoder and text encoder of the embedded model, fp32, one CPU thread",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "beside": options.beside,
        "minutes": round((time.monotonic() - started_s) / 60, 1),
        "load_average": loads,
        "cases": list(CASES),
        "sessions": sessions,
        "block_orders": orders,
        "blocks": blocks,
    }
    write_atomically(options.out, json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _round(rows: list[list[float]]) -> list[list[float]]:
    return [[round(seconds, 6) for seconds in row] for row in rows]


if __name__ == "__main__":
    main()
