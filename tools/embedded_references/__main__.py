"""Command line: ``python -m tools.embedded_references [--seeds N]``."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from sdperf.codec import format_record
from sdperf.models.loader import resolve_model
from sdperf.models.references import FILE_NAME, Floors, ReferenceEntry, ReferenceList
from sdperf.png import compute_png_sha256, encode_png
from sdperf.quality import compute_entropy_bits
from sdperf.store.files import write_atomically
from sdperf.workload import (
    DEFAULT_PROMPTS,
    EMBEDDED,
    EMBEDDED_PRESET,
    PRECISIONS,
    ImageRequest,
    Workload,
)

from .ladder import LEGAL, Generator, Rung, measure_ladder

RESULTS = Path("docs/results/embedded-quality-ladder.json")
COMMAND = "python -m tools.embedded_references"
SSIM_MARGIN = 0.005
WORST_TILE_MARGIN = 0.02
ENTROPY_MARGIN_BITS = 0.05


def main() -> None:
    """Measure the ladder, derive the floors, write references and evidence."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds for each prompt")
    arguments = parser.parse_args()
    model = resolve_model(EMBEDDED)
    workload = Workload(
        model=EMBEDDED,
        prompts=DEFAULT_PROMPTS,
        num_inference_steps=EMBEDDED_PRESET.num_inference_steps,
        guidance_scale=EMBEDDED_PRESET.guidance_scale,
    )
    count = len(DEFAULT_PROMPTS)
    requests = [workload.image(index) for index in range(count * arguments.seeds)]
    made_with = {
        "command": COMMAND,
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "transformers": version("transformers"),
        "machine": platform.machine(),
        "threads": str(torch.get_num_threads()),
    }
    generator = Generator(model, workload, requests)
    plain = generator.draw()
    rungs = measure_ladder(generator, plain, lambda line: print(line, flush=True))
    folder = model.folder / "references"
    shutil.rmtree(folder, ignore_errors=True)
    entries = []
    for request, image in zip(requests[:count], plain[:count], strict=True):
        png = encode_png(image)
        name = f"{request.seed:02d}-{request.prompt.replace(' ', '-')}.png"
        write_atomically(folder / name, png)
        entries.append(_entry(workload, request, name, png, compute_entropy_bits(image)))
    listed = ReferenceList(
        model_hash=model.model_hash,
        images=tuple(entries),
        made_with=made_with,
        floors={
            precision: derive_floors(rungs, precision) for precision in PRECISIONS
        },
    )
    write_atomically(folder / FILE_NAME, _as_json(format_record(listed)))
    evidence = {
        "made_with": made_with | {"model_hash": model.model_hash},
        "prompts": list(DEFAULT_PROMPTS),
        "seeds_per_prompt": arguments.seeds,
        "rungs": [asdict(rung) for rung in rungs],
    }
    write_atomically(RESULTS, _as_json(evidence))
    print(f"wrote {folder} and {RESULTS}")


def derive_floors(rungs: list[Rung], precision: str) -> Floors:
    """Set a precision's floors a margin below the worst score of its legal noise.

    What is legal in fp32 is legal in every precision.
    """
    legal = [rung for rung in rungs if rung.sort == LEGAL and rung.precision in ("fp32", precision)]
    ssim = min(rung.ssim_min for rung in legal)
    tile = min(rung.worst_tile_ssim_min for rung in legal)
    drop_bits = max(rung.entropy_drop_bits_max for rung in legal)
    return Floors(
        ssim=round(ssim - SSIM_MARGIN, 4),
        worst_tile_ssim=round(tile - WORST_TILE_MARGIN, 4),
        entropy_drop_bits=round(max(drop_bits, 0.0) + ENTROPY_MARGIN_BITS, 4),
        evidence=(
            f"worst legal noise over {legal[0].images} images "
            f"({', '.join(rung.name for rung in legal)}): SSIM {ssim}, worst tile {tile}, "
            f"entropy drop {drop_bits} bits; margins {SSIM_MARGIN}, {WORST_TILE_MARGIN}, "
            f"{ENTROPY_MARGIN_BITS}; {RESULTS}"
        ),
    )


def _entry(
    workload: Workload, request: ImageRequest, name: str, png: bytes, entropy_bits: float
) -> ReferenceEntry:
    return ReferenceEntry(
        key=workload.image_key(request),
        prompt=request.prompt,
        seed=request.seed,
        file=name,
        sha256=compute_png_sha256(png),
        entropy_bits=entropy_bits,
    )


def _as_json(document: object) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


if __name__ == "__main__":
    main()
