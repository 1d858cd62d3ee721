"""Where the time of an OpenVINO program goes, by kind of layer and kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

CALLS = 12


def list_kinds(run: Any, inputs: Mapping[str, torch.Tensor]) -> list[dict[str, Any]]:
    """Return milliseconds by kind of the fastest of several calls, most first.

    Args:
        run: The engine's `ProgramPart`.
        inputs: What the part is fed.
    """
    from sdperf.engines.openvino.converting import list_shapes
    from sdperf.engines.openvino.running import DEVICE

    rows = next(one.shape[0] for name, one in inputs.items() if name not in run._part.fixed)
    model = run._core.read_model(run._path)
    model.reshape(list_shapes(run._part, rows))
    settings = {
        "PERF_COUNT": True,
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = run._core.compile_model(model, DEVICE, settings).create_infer_request()
    arrays = {
        name: one.float().numpy() if one.is_floating_point() else one.numpy()
        for name, one in inputs.items()
    }
    calls = []
    for _ in range(CALLS):
        request.infer(arrays)
        calls.append(
            [(one.node_type, one.exec_type, one.real_time) for one in request.profiling_info]
        )
    return sum_kinds(min(calls, key=lambda layers: sum(one[2].total_seconds() for one in layers)))


def sum_kinds(layers: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Sum layers of equal kind and kernel; those that take no time are left out.

    Args:
        layers: Kind, kernel and a `datetime.timedelta` of each.
    """
    spent: Counter[tuple[str, str]] = Counter()
    count: Counter[tuple[str, str]] = Counter()
    for kind, kernel, taken in layers:
        spent[kind, kernel] += 1e3 * taken.total_seconds()
        count[kind, kernel] += 1
    return [
        {"kind": kind, "kernel": kernel, "ms": round(each, 3), "layers": count[kind, kernel]}
        for (kind, kernel), each in spent.most_common()
        if each > 0
    ]
