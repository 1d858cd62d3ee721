"""Reference images and floors on disk: written by calibration, read by the gates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.images import compute_entropy_bits
from sdperf.images.png import compute_png_sha256, decode_png
from sdperf.models.references import FILE_NAME, ReferenceEntry, ReferenceList
from sdperf.record.floors import Floors
from sdperf.record.json import format_record
from sdperf.record.observation import Rung
from sdperf.record.workload import ImageRequest, Task, Workload
from sdperf.store.files import write_atomically

REFERENCES_FOLDER: Final = Path("benchmarks/references")
"""The folder of references, beside the baselines and committed with them."""

LADDER_NAME: Final = "ladder.json"


def locate_references(
    root: Path, model_hash: str, device_kind: str, task: Task | None = None
) -> Path:
    """Return the folder of a model's own references; each kind of device and task has one.

    Args:
        root: The folder above the references of all models.
        model_hash: Hash of the model.
        device_kind: Kind of device that drew them; empty for the folder of all kinds.
        task: The task that draws from a picture; ``None`` draws from the prompt alone.
    """
    name = device_kind if task is None else f"{device_kind}-{task}"
    return root / REFERENCES_FOLDER / model_hash[:16] / name


def write_references(
    folder: Path,
    *,
    workload: Workload,
    model_hash: str,
    images: Sequence[tuple[ImageRequest, bytes]],
    floors: Mapping[str, Floors],
    made_with: Mapping[str, str],
    reference_precision: str = "fp32",
) -> ReferenceList:
    """Write reference images and their list, replacing existing ones.

    The list is written last, so that a killed run leaves the old list or a visible fault.

    Args:
        folder: The folder to write to.
        workload: Its settings are part of each image's key.
        model_hash: The model that drew the images.
        images: Requests with PNG bytes.
        floors: Floors by precision.
        made_with: Versions, device and command that made the references.
        reference_precision: Precision of the pipeline that drew the images.

    Raises:
        OSError: The folder cannot be written.
    """
    entries = tuple(_make_entry(workload, request, png) for request, png in images)
    listed = ReferenceList(
        model_hash=model_hash,
        images=entries,
        made_with=dict(made_with),
        floors=dict(floors),
        reference_precision=reference_precision,
    )
    for entry, (_, png) in zip(entries, images, strict=True):
        write_atomically(folder / entry.file, png)
    write_atomically(folder / FILE_NAME, format_json(format_record(listed)))
    kept = {entry.file for entry in entries}
    for old in folder.glob("*.png"):
        if old.name not in kept:
            old.unlink()
    return listed


def write_ladder(path: Path, rungs: Sequence[Rung], made_with: Mapping[str, str]) -> None:
    """Write the evidence: the measurements under each change.

    Raises:
        OSError: The file cannot be written.
    """
    rows = []
    for rung in rungs:
        row = format_record(rung)
        # The references have each pair's scores, beside the floors that follow from them.
        del row["pairs"]
        rows.append(row)
    write_atomically(path, format_json({"made_with": dict(made_with), "rungs": rows}))


def format_json(document: object) -> bytes:
    """Format a document for a repository: one value per line, and a final newline."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _make_entry(workload: Workload, request: ImageRequest, png: bytes) -> ReferenceEntry:
    slug = re.sub(r"[^a-z0-9]+", "-", request.prompt.lower()).strip("-")[:40] or "image"
    return ReferenceEntry(
        key=workload.image_key(request),
        prompt=request.prompt,
        seed=request.seed,
        file=f"{request.seed:02d}-{slug}.png",
        sha256=compute_png_sha256(png),
        entropy_bits=compute_entropy_bits(decode_png(png)),
    )
