"""Pipelines of published shapes with random weights, built without reading or writing gigabytes.

Their pictures mean nothing; their speed and memory are those of the real models:

    pytest benchmarks --sd-subject evidence.random_pipelines:sd15
    python -m evidence.random_pipelines sdxl FOLDER --dtype fp16
"""

from __future__ import annotations

from evidence.random_pipelines.recent import flux2_klein_4b, qwen_image, sd35_large, z_image_turbo
from evidence.random_pipelines.shapes import build_sd15, build_sdxl, sd15, sdxl

__all__ = [
    "build_sd15",
    "build_sdxl",
    "flux2_klein_4b",
    "qwen_image",
    "sd15",
    "sd35_large",
    "sdxl",
    "z_image_turbo",
]
