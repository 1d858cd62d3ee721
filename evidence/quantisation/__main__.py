"""Measure quantised weights beside the plain pipeline, and write JSON and a page."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from evidence.quantisation.measuring import Bench, Row
from evidence.quantisation.table import format_page
from sdperf.ab.turns.gain import GainCase
from sdperf.device import DEVICE_CHOICES, DeviceKind
from sdperf.errors import SdperfError
from sdperf.measure.environment import collect_environment
from sdperf.models.loader import resolve_model
from sdperf.models.sampling import preset_for
from sdperf.pipeline.optimisations.catalogue import (
    OPTIMISATIONS,
    QUANTISATIONS,
    parse_optimisations,
)
from sdperf.record.json import format_record
from sdperf.record.workload import DEFAULT_PROMPTS, EMBEDDED, PRECISIONS, Workload
from sdperf.run.suite import count_cpu_threads
from sdperf.store.files import write_atomically

BEST: Final = {
    "cpu": "compile+compile_vae+device_loop+stored_png",
    "cuda": "channels_last+compile+compile_vae+cuda_graphs+loop_graph+stored_png",
    "mps": "stored_png",
}
"""The best exact set of ``benchmarks/test_optimisations.py``: docs/optimisations.md."""


def choose_sets(kind: DeviceKind) -> list[str]:
    """Return the best exact set, then each quantisation that the device has, alone and with it.

    What works on compiled code only is compiled alone too.
    """
    there = [name for name in QUANTISATIONS if kind not in OPTIMISATIONS[name].refusals]
    with_best = ["+".join(parse_optimisations(f"{name}+{BEST[kind]}")) for name in there]
    alone = ["+".join((name, *OPTIMISATIONS[name].needs[:1])) for name in there]
    return [BEST[kind], *("+".join(parse_optimisations(one)) for one in alone), *with_best]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.quantisation", description=__doc__)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--subject", help="module:function, as for --sd-subject")
    parser.add_argument("--device", choices=DEVICE_CHOICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--scheduler")
    parser.add_argument("--size", type=int, help="pixels; the model's own by default")
    parser.add_argument("--threads", type=int, default=count_cpu_threads())
    parser.add_argument("--rounds", type=int, default=6, help="of each side; 0 times nothing")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--optimisations", help="sets as for --sd-optimisations")
    parser.add_argument("--at-once", type=int, default=1, help="sets that load and compile at once")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds of an image")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of a set's rounds")
    parser.add_argument(
        "--json",
        type=Path,
        required=True,
        help="the page lies beside it; sets that it holds already are kept",
    )
    asked = parser.parse_args()
    preset = preset_for(asked.model)
    workload = Workload(
        model=asked.model,
        prompts=DEFAULT_PROMPTS,
        num_inference_steps=asked.steps or preset.num_inference_steps,
        guidance_scale=preset.guidance_scale if asked.guidance is None else asked.guidance,
        height=asked.size,
        width=asked.size,
        scheduler=asked.scheduler,
    )
    bench = Bench(
        workload,
        resolve_model(asked.model),
        asked.precision,
        asked.device,
        asked.subject,
        asked.threads,
        asked.pictures,
        asked.timeout,
        asked.budget,
    )
    try:
        kind = bench.make_reference()
        names = asked.optimisations.split(",") if asked.optimisations else choose_sets(kind)
        sets = ["+".join(parse_optimisations(name)) or "none" for name in names]
        device = bench.describe_device()
        environment = collect_environment(
            device_kind=device.kind, device_name=device.name, gpu_cores=device.gpu_cores
        )
        before = _read(asked.json)
        command = shlex.join(["python", "-m", "evidence.quantisation", *sys.argv[1:]])
        document = {
            "commands": [*(one for one in before["commands"] if one != command), command],
            "fingerprint": environment.fingerprint(),
            "packages": dict(environment.packages),
            "workload": asdict(workload),
            "subject": asked.subject,
            "precision": asked.precision,
            "threads": asked.threads,
            "plain_weight_bytes": dict(bench.plain_weight_bytes),
            "rows": before["rows"],
        }
        measure_sets(bench, sets, asked.rounds, asked.at_once, document, asked.json)
    finally:
        bench.close()


def measure_sets(
    bench: Bench, sets: list[str], rounds: int, at_once: int, document: dict[str, Any], path: Path
) -> None:
    """Measure sets one after the other, several loaded ahead; write after each."""

    def prepare(name: str) -> GainCase | str:
        try:
            return bench.prepare(parse_optimisations(name))
        except SdperfError as error:
            return str(error)

    for first in range(0, len(sets), at_once):
        group = sets[first : first + at_once]
        with ThreadPoolExecutor(at_once) as threads:
            prepared = list(threads.map(prepare, group))
        for name, paired in zip(group, prepared, strict=True):
            row = _measure(bench, name, paired, rounds)
            _keep(document, row, path)
            print(f"{name}: {row.refused or 'measured'}", flush=True)


def _measure(bench: Bench, name: str, paired: GainCase | str, rounds: int) -> Row:
    if isinstance(paired, str):
        return Row(name, refused=paired)
    try:
        return bench.measure(paired, rounds)
    except SdperfError as error:
        return Row(name, refused=str(error))


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"commands": [], "rows": []}
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _keep(document: dict[str, Any], row: Row, path: Path) -> None:
    others = [one for one in document["rows"] if one["optimisations"] != row.optimisations]
    document["rows"] = [*others, format_record(row)]
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
    write_atomically(path.with_suffix(".md"), format_page(document).encode())


if __name__ == "__main__":
    main()
