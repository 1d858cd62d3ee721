"""``python -m evidence.first_case.products --into FILE``: who computes a matrix product, and when.

Counts the matrix products of one image on a CPU by the number of threads that MKL gave them, in
fresh processes: one in which nobody said how many threads to use (a plain script, and the first
case of a session before sdperf always said it), one that was told the number, and a worker of
sdperf in its first case.
"""

from __future__ import annotations

import argparse
import collections
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sdperf.store.files import write_atomically

WAYS: Final = ("untold", "told", "worker")
_PRODUCT: Final = re.compile(r"^MKL_VERBOSE \w*GEMM\w*\(.* Dyn:([01]) .* NThr:(\d+)", re.ASCII)
_STEPS: Final = 2


def parse_products(lines: Iterable[str]) -> dict[str, int]:
    """Count the products in what MKL prints, by the number of threads that it gave them. Pure.

    Args:
        lines: Output of a process in which MKL tells each call.

    Returns:
        Number of products; a key is ``N threads``, with ``, MKL's choice`` where it may take fewer
        than it was allowed (``Dyn:1``).
    """
    found = collections.Counter(
        f"{match[2]} threads" + (", MKL's choice" if match[1] == "1" else "")
        for match in map(_PRODUCT.match, lines)
        if match
    )
    return dict(sorted(found.items()))


def main() -> None:
    """Count in a fresh process for each way, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m evidence.first_case.products")
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        _draw(arguments.way, arguments.threads)
        return
    document: dict[str, Any] = {
        "threads": arguments.threads,
        "steps": _STEPS,
        "system": platform.platform(),
        "products": {way: _count(way, arguments.threads) for way in WAYS},
    }
    write_atomically(arguments.into, (json.dumps(document, indent=1) + "\n").encode())
    print(json.dumps(document["products"], indent=1))


def _count(way: str, threads: int) -> dict[str, int]:
    words = ("--into", "-", "--threads", str(threads), "--way", way)
    done = subprocess.run(
        [sys.executable, "-m", "evidence.first_case.products", *words],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return parse_products(done.stdout.splitlines())


def _draw(way: str, threads: int) -> None:
    """Draw one image in this process and let MKL tell its calls."""
    import torch

    from sdperf.models.loader import load_pipeline, resolve_model
    from sdperf.record.workload import Workload
    from sdperf.run import worker
    from sdperf.run.messages import RoundRequest, WorkerSpec

    model = resolve_model("embedded")
    workload = Workload(
        model="embedded", prompts=("red apple",), num_inference_steps=_STEPS, guidance_scale=3.0
    )
    if way == "worker":
        worker.load(WorkerSpec(model, "fp32", "cpu"))
        request = RoundRequest(workload, (workload.image(0),), "sync", threads)
        with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
            worker.run_round(request)
        return
    pipeline = load_pipeline(model, torch_dtype=torch.float32, device="cpu")
    if way == "told":
        torch.set_num_threads(threads)
    with torch.backends.mkl.verbose(torch.backends.mkl.VERBOSE_ON):
        pipeline("red apple", num_inference_steps=_STEPS, guidance_scale=3.0)


if __name__ == "__main__":
    main()
