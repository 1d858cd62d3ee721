"""Count page faults of pictures, with freed memory given back and kept.

    python -m evidence.cpu_engines.faults --json faults.json

Each setting has a process of its own, in which one thread draws everything, as a worker does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from evidence.engine_parity.__main__ import make_workload
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.optimisations.memory import keep_freed_memory
from sdperf.pipeline.pixels import to_uint8
from sdperf.record.workload import DEFAULT_PROMPTS

WARMUP = 3


def draw(images: int, calls: int, *, is_kept: bool) -> dict[str, Any]:
    """Draw pictures and return what each call cost the system; on the thread that calls it."""
    torch.set_num_threads(2)
    workload = make_workload("embedded", len(DEFAULT_PROMPTS))
    model = resolve_model("embedded")
    pipeline = load_pipeline(model, torch_dtype=torch.float32, device=torch.device("cpu"))
    stages = stages_for(pipeline, workload)
    if is_kept:
        keep_freed_memory()
    found = []
    for call in range(WARMUP + calls):
        requests = [workload.image((call + one) % len(workload.prompts)) for one in range(images)]
        before, start_s = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
        to_uint8(stages.run_whole([one.prompt for one in requests], stages.draw_noise(requests)))
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.append(
            {
                "faults": after.ru_minflt - before.ru_minflt,
                "system_s": round(after.ru_stime - before.ru_stime, 4),
                "cpu_s": round(time.process_time() - start_s, 4),
            }
        )
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"images": images, "is_kept": is_kept, "calls": found[WARMUP:], "peak_kib": peak_kib}


def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", default="1,4", help="images of a call, a comma list (1,4)")
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2, help="processes of each setting")
    parser.add_argument("--json", type=Path, default=Path("faults.json"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(typed)
    if arguments.one is not None:
        images, is_kept = json.loads(arguments.one)
        with ThreadPoolExecutor(1) as thread:
            work = thread.submit(draw, images, arguments.calls, is_kept=is_kept)
            print(json.dumps(work.result()))
        return
    results = []
    for images in map(int, arguments.images.split(",")):
        for turn in range(arguments.turns):
            for is_kept in (False, True) if turn % 2 == 0 else (True, False):
                asked = json.dumps([images, is_kept])
                command = [sys.executable, "-m", "evidence.cpu_engines.faults", "--one", asked]
                command += ["--calls", str(arguments.calls)]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                results.append(json.loads(run.stdout.splitlines()[-1]))
                faults = [one["faults"] for one in results[-1]["calls"]]
                print(images, "kept" if is_kept else "given back", faults, flush=True)
                document = {"torch": torch.__version__, "load": os.getloadavg()}
                text = json.dumps({**document, "results": results}, indent=1)
                arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
