"""Convert a model's parts as each Core ML engine would, and write down what came out.

    python -m evidence.coreml_conversion --json docs/results/coreml-conversion.json

Works on Linux: nothing is compiled or run, so this says nothing about speed or images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import torch

from evidence.coreml_conversion.palettes import count_held
from sdperf.engines.catalogue import ENGINES
from sdperf.engines.coreml.converting import TARGET, convert_part
from sdperf.engines.coreml.settings import read_settings
from sdperf.engines.parts import split_pipeline
from sdperf.engines.protocol import Part
from sdperf.engines.versions import collect_versions
from sdperf.folders import measure_bytes
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.models.sampling import preset_for
from sdperf.pipeline.families import family_of, stages_for
from sdperf.record.workload import Workload
from sdperf.store.files import write_atomically

COUNTED = ("conv", "linear", "scaled_dot_product_attention", "einsum", "constexpr_lut_to_dense")


def describe_conversion(part: Part, name: str, *, half: bool) -> dict[str, Any]:
    """Convert one part; sizes in bytes, time in seconds.

    Where weights come from palettes, those in the package are compared with torch's of the same
    rounding: ``palettes_as_in_torch`` of ``palettes_in_torch`` are equal in every element.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(ENGINES[name])
        start_s = time.perf_counter()
        package = convert_part(part, settings, half=half, folder=Path(folder))
        conversion_s = time.perf_counter() - start_s
        spec = ct.models.MLModel(str(package), skip_model_load=True).get_spec()
        function = spec.mlProgram.functions["main"]
        operations = function.block_specializations[function.opset].operations
        kinds = Counter(one.type for one in operations if one.type != "const")
        palettes = {}
        if settings.bits is not None:
            held, wanted = count_held(package, part.network, settings.bits)
            palettes = {"palettes_as_in_torch": held, "palettes_in_torch": wanted}
        return {
            "engine": name,
            "part": part.name,
            "half": half,
            "package_bytes": measure_bytes(package),
            "weights_bytes": sum(one.nbytes for one in part.network.state_dict().values()),
            "conversion_s": conversion_s,
            "operations": sum(kinds.values()),
            **{kind: kinds[kind] for kind in COUNTED},
            **palettes,
        }


def read_rows(path: Path, model_hash: str, versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the same versions converted of the same model; the rest is added to it."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = document["conversions"]
    is_same = document["model_hash"] == model_hash and document["versions"] == versions
    return rows if is_same else []


def main(typed: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--engines", default="coreml,coreml-ane,coreml-6bit,coreml-4bit")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(typed)
    model = resolve_model(arguments.model)
    pipeline = load_pipeline(model, torch_dtype=torch.float32, device="cpu")
    preset = preset_for(arguments.model)
    workload = Workload(arguments.model, ("a",), preset.num_inference_steps, preset.guidance_scale)
    stages = stages_for(pipeline, workload)
    assert stages.height is not None
    assert stages.width is not None
    parts = split_pipeline(
        pipeline,
        family=family_of(pipeline),
        height=stages.height,
        width=stages.width,
        guided=workload.guidance_scale > 1,
    )
    names = arguments.engines.split(",")
    versions = collect_versions(ENGINES[names[-1]])
    document: dict[str, Any] = {
        "model": arguments.model,
        "model_hash": model.model_hash,
        "height": stages.height,
        "width": stages.width,
        "target": TARGET,
        "versions": versions,
        "conversions": read_rows(arguments.json, model.model_hash, versions),
    }
    known = {(row["engine"], row["part"]) for row in document["conversions"]}
    for name in names:
        for part in parts:
            # The other parts are converted alike by all of them.
            is_new = part.name == "unet" or name == "coreml"
            if not is_new or (name, part.name) in known:
                continue
            row = describe_conversion(part, name, half=True)
            print(f"{name} {part.name}: {row['package_bytes']} bytes", flush=True)
            document["conversions"].append(row)
            write_atomically(arguments.json, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
