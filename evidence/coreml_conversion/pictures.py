"""See what Core ML's palettes cost a picture, computed in torch: no Core ML runs here.

    python -m evidence.coreml_conversion.pictures --json docs/results/coreml-palettes.json

The UNet's weights are those of the converted packages (``python -m evidence.coreml_conversion``
compares them one by one); its arithmetic, and the other networks, are plain fp32. So this is what
the rounding of weights costs, and nothing of what Core ML's own arithmetic would add.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from evidence.coreml_conversion.palettes import round_weights
from evidence.engine_parity.__main__ import Reference, make_images, make_workload, score_images
from sdperf.engines.parity import measure_parity
from sdperf.engines.protocol import Part, PreparedPart
from sdperf.models.loader import ResolvedModel, load_pipeline, resolve_model
from sdperf.record.workload import Workload
from sdperf.store.files import write_atomically

BITS: Final = (None, 6, 4)
"""``None`` rounds weights to float16 and no further."""


def examine(
    reference: Reference, model: ResolvedModel, workload: Workload, bits: int | None
) -> dict[str, Any]:
    """Hold one rounding against fp32: each part on equal inputs, then whole images."""
    device = torch.device("cpu")
    pipeline = load_pipeline(model, torch_dtype=torch.float32, device=device)
    count = round_weights(pipeline.unet, bits)
    parts = reference.split(pipeline, workload)
    prepared = {part.name: PreparedPart(partial(run_in_torch, part)) for part in parts}
    modules = {part.name: part.module for part in reference.parts}
    images = make_images(pipeline, workload)
    return {
        "bits": bits,
        "palettised_weights": count,
        "components": [dataclasses.asdict(one) for one in measure_parity(parts, prepared, modules)],
        **score_images(reference.images, images),
    }


@torch.no_grad()
def run_in_torch(part: Part, inputs: Any) -> Any:
    """Run a part as it is."""
    return part.module(*inputs.values())


def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--steps", type=int, help="the model's preset")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(typed)
    model = resolve_model(arguments.model)
    workload = make_workload(arguments.model, arguments.prompts, arguments.steps)
    reference = Reference(model, workload, torch.device("cpu"))
    rows = []
    for bits in BITS:
        row = examine(reference, model, workload, bits)
        rows.append(row)
        (unet,) = (one for one in row["components"] if one["component"] == "unet")
        psnr = "identical" if unet["psnr_db"] is None else f"{unet['psnr_db']:.1f} dB"
        print(f"{bits or 16} bits: unet {psnr}, worst SSIM {row['worst_ssim']:.4f}", flush=True)
    document = {
        "model": arguments.model,
        "model_hash": model.model_hash,
        "computed_in": "torch, fp32, CPU: weights as in the Core ML packages, no Core ML",
        "torch": torch.__version__,
        "steps": workload.num_inference_steps,
        "guidance": workload.guidance_scale,
        "results": rows,
    }
    write_atomically(arguments.json, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
