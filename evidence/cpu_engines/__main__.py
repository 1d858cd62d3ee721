"""Measure one core's seconds of each network, by engine and in turns, and divide OpenVINO's.

    python -m evidence.cpu_engines --engines onnx,openvino --json networks.json

Seconds of the processor, in one thread: they say what there is to compute and how well it is
computed, also on a machine that is busy with other work; how two threads share it, they do not.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from evidence.cpu_engines.kinds import list_kinds
from evidence.engine_parity.__main__ import DTYPES, make_workload
from sdperf.engines.attaching import make_engine
from sdperf.engines.cache import EngineCache, locate_engine_cache
from sdperf.engines.catalogue import ENGINES, list_versions
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import EngineRequest, Part
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.pipeline.families import family_of, stages_for
from sdperf.pipeline.separable import SeparableStages
from sdperf.stats.summaries import compute_median, compute_median_interval

Run = Callable[[Mapping[str, torch.Tensor]], Any]
CALLS = {"text_encoder": 8, "unet": 3, "vae_decoder": 2}
"""Calls of a turn."""


def take_turns(sides: Mapping[str, Callable[[], Any]], rounds: int, calls: int) -> dict[str, Any]:
    """Return each side's milliseconds of a call, and how many times the first takes its time."""
    spent_ms: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            sides[name]()  # what the other side left in the caches is its own affair
            start_s = time.process_time()
            for _ in range(calls):
                sides[name]()
            spent_ms[name].append(1e3 * (time.process_time() - start_s) / calls)
    first, *others = sides
    found: dict[str, Any] = {first: {"ms": describe(spent_ms[first])}}
    for name in others:
        ratios = [a / b for a, b in zip(spent_ms[first], spent_ms[name], strict=True)]
        found[name] = {"ms": describe(spent_ms[name]), "times": describe(ratios)}
    return found


def describe(values: Sequence[float]) -> dict[str, float]:
    """Return the median with an interval of order statistics."""
    interval = compute_median_interval(values)
    return {
        "median": round(compute_median(values), 3),
        "lower": round(interval.lower, 3),
        "upper": round(interval.upper, 3),
        "coverage": round(interval.coverage, 3),
        "least": round(min(values), 3),
        "count": len(values),
    }


def repeat_rows(part: Part, rows: int) -> dict[str, torch.Tensor]:
    """Cut or repeat the example inputs to a number of rows."""
    return {
        name: one
        if name in part.fixed
        else one[:1].repeat(rows, *[1] * (one.ndim - 1)).contiguous()
        for name, one in part.inputs.items()
    }


def count_gflop(part: Part, inputs: Mapping[str, torch.Tensor]) -> float:
    """Count multiplications and additions of one call; attention's products are not seen."""
    with FlopCounterMode(display=False) as counter:
        part.module(*inputs.values())
    return round(counter.get_total_flops() / 1e9, 3)


def keep_norms(parts: Sequence[Part]) -> dict[str, Run]:
    """Convert parts with group normalisation as OpenVINO reads it, and compile them."""
    from sdperf.engines.openvino.converting import MODEL_NAME, convert_part
    from sdperf.engines.openvino.importing import openvino
    from sdperf.engines.openvino.running import ProgramPart

    core, runs = openvino.Core(), {}
    for part in parts:
        path = Path(tempfile.mkdtemp()) / MODEL_NAME
        with mock.patch("sdperf.engines.openvino.converting.spread_group_norms"):
            convert_part(part, path)
        runs[part.name] = ProgramPart(core, path, part, 1)
    return runs


@torch.inference_mode()
def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", default="onnx,openvino", help="comma list (onnx,openvino)")
    parser.add_argument("--precision", default="fp32", choices=sorted(DTYPES))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--images", default="1,8", help="images of a call, a comma list (1,8)")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument(
        "--norms", action="store_true", help="OpenVINO's own group normalisation beside it too"
    )
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(typed)
    torch.set_num_threads(1)
    model = resolve_model(arguments.model)
    workload = make_workload(arguments.model, 1)
    pipeline = load_pipeline(
        model, torch_dtype=DTYPES[arguments.precision], device=torch.device("cpu")
    )
    stages = stages_for(pipeline, workload)
    assert isinstance(stages, SeparableStages)
    size = {"height": stages.height, "width": stages.width}
    guided = workload.guidance_scale > 1
    family = family_of(pipeline)
    parts = split_pipeline(pipeline, family=family, guided=guided, **size)
    document: dict[str, Any] = {
        "model": arguments.model,
        "precision": arguments.precision,
        "threads": 1,
        "steps": workload.num_inference_steps,
        "versions": {"torch": torch.__version__},
        "load_before": os.getloadavg(),
        "results": [],
    }
    runs: dict[str, dict[str, Run]] = {"torch": {}}
    for part in parts:
        runs["torch"][part.name] = lambda inputs, part=part: part.module(*inputs.values())
    for name in arguments.engines.split(","):
        request = EngineRequest(
            choice=ENGINES[name],
            model=model,
            family=family,
            precision=arguments.precision,
            device="cpu",
            threads=1,
            cache=EngineCache(locate_engine_cache()),
            **size,
        )
        prepared = make_engine(request.choice, "cpu").prepare(parts, request, print)
        runs[name] = {part: one.run for part, one in prepared.items()}
        document["versions"] |= list_versions(request.choice)
    if arguments.norms:
        runs["openvino, its own norms"] = keep_norms(parts)
    for images in map(int, arguments.images.split(",")):
        for part in parts:
            inputs = repeat_rows(part, images * part.rows)
            sides = {
                name: lambda run=run[part.name], inputs=inputs: run(inputs)
                for name, run in runs.items()
            }
            found = {
                "part": part.name,
                "images": images,
                "gflop": count_gflop(part, inputs),
                "sides": take_turns(sides, arguments.rounds, CALLS.get(part.name, 2)),
            }
            if "openvino" in runs:
                found["openvino_kinds"] = list_kinds(runs["openvino"][part.name], inputs)
            document["results"].append(found)
            medians = {name: one["ms"]["median"] for name, one in found["sides"].items()}
            print(part.name, images, "images:", medians, "ms")
    document["load_after"] = os.getloadavg()
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
