"""Records every model in every precision as every version of torch would get it, and judges it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, Final

import diffusers
import torch
from packaging.version import Version

from evidence.mps_models.models import MODELS, Model
from sdperf.models.subject import PipelineRequest
from sdperf.mps_check.calls import MpsRecording, OperatorCall, SeenTensor
from sdperf.mps_check.dispatch import load_dispatch_table
from sdperf.mps_check.judging import MpsFinding, judge_recording
from sdperf.mps_check.limits import load_limits, load_reading
from sdperf.mps_check.predicates import PREDICATES
from sdperf.mps_check.preparing import made_as_on_a_mac
from sdperf.mps_check.recording import record_generation
from sdperf.record.workload import Precision, Workload

TORCH: Final = ("2.10.0", "2.13.0", "2.15.0")
MACOS: Final = ("14.7", "15.7", "26.5")
PRECISIONS: Final[dict[Precision, torch.dtype]] = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp32": torch.float32,
}
_BYTES: Final = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8, "bool": 1}
_ATTENTION: Final = "_scaled_dot_product_attention_math_for_mps"
_SCORE_BYTES: Final = 4
_STEPS: Final = 2
"""From the second step on a scheduler takes other numbers of its tables than the first."""

_FIRST_WITH_KERNELS: Final = Version("2.13")


def record_models() -> dict[str, Any]:
    """Record and judge all models; minutes."""
    return {
        "format": 1,
        "made_by": "python -m evidence.mps_models --record",
        "installed": {"torch": str(torch.__version__), "diffusers": diffusers.__version__},
        "limits": load_reading(),
        "torch": TORCH,
        "macos": MACOS,
        "models": [_record_model(model) for model in MODELS],
    }


def _record_model(model: Model) -> dict[str, Any]:
    runs = []
    size = ""
    weights: dict[str, int] = {}
    for precision in PRECISIONS:
        for version in TORCH:
            print(f"{model.name}, {precision}, torch {version} ...", file=sys.stderr, flush=True)
            with made_as_on_a_mac():
                pipeline = model.build(
                    PipelineRequest(None, PRECISIONS[precision], torch.device("meta"))
                )
            weights = count_weights(pipeline)
            recording = _record(model, pipeline, precision, version)
            size = describe_size(recording)
            runs.append(
                {
                    "precision": precision,
                    "torch": version,
                    "operators": recording.operators,
                    "working_bytes": find_working_bytes(recording, Version(version)),
                    "findings": list(_judge(recording, version, model.name)),
                }
            )
    return {"name": model.name, "size": size, "weights": weights, "runs": runs}


def describe_size(recording: MpsRecording) -> str:
    """Describe what was generated, such as ``1024 px`` or ``832 x 480 px, 81 frames``."""
    square = recording.width == recording.height
    pixels = f"{recording.width}" if square else f"{recording.width} x {recording.height}"
    return f"{pixels} px" + ("" if recording.frames is None else f", {recording.frames} frames")


def _record(model: Model, pipeline: Any, precision: Precision, version: str) -> MpsRecording:
    workload = Workload(
        model.name,
        ("a red apple on a wooden table",),
        num_inference_steps=_STEPS,
        guidance_scale=model.guidance,
        height=model.height_px or model.width_px,
        width=model.width_px,
    )
    table = load_dispatch_table(version, "0")
    return record_generation(pipeline, workload, table, precision=precision)


def _judge(recording: MpsRecording, version: str, name: str) -> Iterator[dict[str, Any]]:
    """Judge on every macOS; one entry a finding, with the systems that have it."""
    found: dict[tuple[str, str], tuple[MpsFinding, list[str]]] = {}
    table = load_dispatch_table(version, "0")
    for macos in MACOS:
        judged = judge_recording(
            recording, table, load_limits(), (), model=name, macos=Version(macos)
        )
        for finding in judged.findings:
            found.setdefault((finding.id, finding.operator), (finding, []))[1].append(macos)
    for finding, systems in found.values():
        first = finding.places[0]
        yield {
            "id": finding.id,
            "effect": finding.effect,
            "title": finding.title,
            "operator": finding.operator,
            "certainty": finding.certainty,
            "condition": finding.condition,
            "macos": systems,
            "calls": finding.calls,
            "module": first.module,
            "line": first.line,
            "remedy": finding.remedy,
            "sources": finding.sources,
        }


def count_weights(pipeline: Any) -> dict[str, int]:
    """Count the weights of each network, those that are shared once."""
    return {
        name: sum(weight.numel() for weight in {id(one): one for one in part.parameters()}.values())
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }


def find_working_bytes(recording: MpsRecording, version: Version) -> int:
    """Return what the largest single operator holds besides weights, in bytes.

    It is what goes in and comes out; attention that MPSGraph computes writes its scores out in
    32 bits besides. Source: pytorch/pytorch#178545. What is alive around it is not counted, so the
    real peak is higher.
    """
    return max(_held_bytes(call, version) for call in recording.calls)


def _held_bytes(call: OperatorCall, version: Version) -> int:
    weights = {id(call.get(name)) for name in ("weight", "bias")}
    tensors = [each for each in call.inputs if id(each) not in weights]
    held = sum(map(_tensor_bytes, (*tensors, *call.outputs)))
    query, key = call.tensor("query"), call.tensor("key")
    if call.name != _ATTENTION or query is None or key is None:
        return held
    has_kernel = version >= _FIRST_WITH_KERNELS and not PREDICATES[
        "long_attention_without_prefill"
    ](call)
    scores = math.prod((*query.shape[:-1], key.shape[-2])) * _SCORE_BYTES
    return held + (0 if has_kernel else scores)


def _tensor_bytes(tensor: SeenTensor) -> int:
    return tensor.numel * _BYTES.get(tensor.dtype, 4)
