"""Save a pipeline with random weights as a diffusers folder for ``--sd-model``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from evidence.random_pipelines.shapes import build_sd15, build_sdxl

_BUILDERS = {"sd15": build_sd15, "sdxl": build_sdxl}
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.random_pipelines", description=__doc__
    )
    parser.add_argument("shape", choices=sorted(_BUILDERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=sorted(_DTYPES), default="fp16")
    arguments = parser.parse_args()
    pipeline = _BUILDERS[arguments.shape](dtype=_DTYPES[arguments.dtype], device="cpu")
    pipeline.save_pretrained(arguments.folder)


if __name__ == "__main__":
    main()
