"""Hold engines against torch in fp32: PSNR of each part on equal inputs, SSIM of whole images.

    python -m evidence.engine_parity --engines onnx,onnx-int8 --json
    docs/results/engines-parity.json

Nothing here is timed but conversions; how fast engines are is what ``benchmarks/test_engines.py``
and ``sdperf ab --a engine=torch --b engine=NAME`` say.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sdperf.device import select_device
from sdperf.engines.attaching import attach_engine, make_engine
from sdperf.engines.cache import EngineCache, locate_engine_cache
from sdperf.engines.catalogue import ENGINES, list_versions
from sdperf.engines.parity import measure_parity
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import EngineRequest
from sdperf.errors import SdperfError
from sdperf.images import compare_images, compute_entropy_bits
from sdperf.measure.environment import collect_environment
from sdperf.models.loader import ResolvedModel, load_pipeline, resolve_model
from sdperf.models.sampling import preset_for
from sdperf.pipeline.families import family_of, stages_for
from sdperf.pipeline.pixels import to_uint8
from sdperf.pipeline.separable import SeparableStages
from sdperf.record.workload import DEFAULT_PROMPTS, Precision, Workload

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def make_workload(model: str, prompts: int, steps: int | None = None) -> Workload:
    preset = preset_for(model)
    return Workload(
        model=model,
        prompts=DEFAULT_PROMPTS[:prompts],
        num_inference_steps=steps or preset.num_inference_steps,
        guidance_scale=preset.guidance_scale,
    )


def make_images(pipeline: Any, workload: Workload) -> list[Any]:
    """Generate the workload's prompts one by one: (H, W, 3) uint8 each."""
    stages = stages_for(pipeline, workload)
    images = []
    for index in range(len(workload.prompts)):
        request = workload.image(index)
        pixels = stages.run_whole([request.prompt], stages.draw_noise([request]))
        images.append(to_uint8(pixels)[0])
    return images


def score_images(before: Sequence[Any], after: Sequence[Any]) -> dict[str, Any]:
    """Hold images against those of the reference; the worst score of each kind."""
    pairs = list(zip(before, after, strict=True))
    scores = [compare_images(*pair) for pair in pairs]
    entropies = [tuple(map(compute_entropy_bits, pair)) for pair in pairs]
    return {
        "images": len(scores),
        "worst_ssim": min(score.ssim for score in scores),
        "worst_tile_ssim": min(score.worst_tile.ssim for score in scores),
        "worst_psnr_db": min(
            (score.psnr_db for score in scores if score.psnr_db is not None), default=None
        ),
        "least_entropy_bits": min(current for _, current in entropies),
        "most_entropy_lost_bits": max(known - current for known, current in entropies),
    }


class Reference:
    """Torch in fp32: its parts and its images."""

    def __init__(self, model: ResolvedModel, workload: Workload, device: torch.device) -> None:
        self.pipeline = load_pipeline(model, torch_dtype=torch.float32, device=device)
        stages = stages_for(self.pipeline, workload)
        assert isinstance(stages, SeparableStages)
        self.size = {"height": stages.height, "width": stages.width}
        self.images = make_images(self.pipeline, workload)
        self.parts = self.split(self.pipeline, workload)

    def split(self, pipeline: Any, workload: Workload) -> Any:
        guided = workload.guidance_scale > 1
        return split_pipeline(pipeline, family=family_of(pipeline), guided=guided, **self.size)


def examine(
    name: str, precision: Precision, model: ResolvedModel, workload: Workload, device: Any
) -> dict[str, Any]:
    """Hold one engine in one precision against torch in fp32."""
    choice = ENGINES[name]
    reference = Reference(model, workload, device.torch_device)
    pipeline = load_pipeline(model, torch_dtype=DTYPES[precision], device=device.torch_device)
    request = EngineRequest(
        choice=choice,
        model=model,
        family=family_of(pipeline),
        precision=precision,
        device=device.kind,
        threads=torch.get_num_threads(),
        cache=EngineCache(locate_engine_cache()),
        **reference.size,
    )
    engine = make_engine(choice, device.kind)
    parts = reference.split(pipeline, workload)
    prepared = engine.prepare(parts, request, print)
    modules = {part.name: part.module for part in reference.parts}
    distances = measure_parity(parts, prepared, modules)
    attaching = make_engine(choice, device.kind)
    use = attach_engine(pipeline, attaching, request, guided=workload.guidance_scale > 1)
    images = make_images(pipeline, workload)
    return {
        "engine": name,
        "precision": precision,
        "provider": use.provider,
        "versions": list_versions(choice),
        "conversion_s": use.conversion_s,
        "model_bytes": {part: one.model_bytes for part, one in prepared.items()},
        "components": [dataclasses.asdict(one) for one in distances],
        **score_images(reference.images, images),
    }


def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engines", default="onnx", help="comma list (onnx)")
    parser.add_argument("--precision", default="fp32", choices=sorted(DTYPES))
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--steps", type=int, help="the model's preset")
    parser.add_argument("--sd-device", default="auto")
    parser.add_argument("--json", type=Path, required=True, help="added to where it exists")
    arguments = parser.parse_args(typed)
    device = select_device(arguments.sd_device)
    model = resolve_model(arguments.model)
    workload = make_workload(arguments.model, arguments.prompts, arguments.steps)
    described = device.describe()
    where = collect_environment(
        device_kind=described.kind, device_name=described.name, gpu_cores=described.gpu_cores
    )
    known = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    results = {(one["engine"], one["precision"]): one for one in known.get("results", [])}
    for name in arguments.engines.split(","):
        try:
            result = examine(name, arguments.precision, model, workload, device)
        except SdperfError as error:
            print(f"{name}: {error}")
            continue
        results[name, arguments.precision] = result
        worst = min((c["psnr_db"] or 999.0) for c in result["components"])
        print(f"{name} {arguments.precision}: worst part {worst:.1f} dB", end=", ")
        print(f"worst image SSIM {result['worst_ssim']:.4f}")
    document = {
        "model": arguments.model,
        "model_hash": model.model_hash,
        "chip": where.chip,
        "device": described.kind,
        "packages": {key: where.packages[key] for key in ("torch", "diffusers", "transformers")},
        "steps": workload.num_inference_steps,
        "guidance": workload.guidance_scale,
        "results": [results[key] for key in sorted(results)],
    }
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
