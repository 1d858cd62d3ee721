"""How fast a GPU multiplies and attends at the sizes of a model's blocks, beside its peak.

python -m evidence.h200_levers.products --json products.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear, scaled_dot_product_attention

PEAK: Final = (8192, 8192, 8192)
QWEN_IMAGE: Final = (
    *((4096, 3072, width) for width in (3072, 9216, 12288)),
    (4096, 12288, 3072),
    *((64, 3072, width) for width in (9216, 12288)),
    (64, 12288, 3072),
    (128, 3072, 12288),
    *((rows, 3072, 18432) for rows in (1, 2)),
    *((8192, 3072, width) for width in (9216, 12288)),
    (8192, 12288, 3072),
)
"""Rows, inputs and outputs of the products of Qwen-Image's blocks: the picture's tokens, the
prompt's, the modulation, and the same for two pictures' tokens in one product."""

ATTENTIONS: Final = (
    (4160, 24, 128, 1),
    (4224, 24, 128, 1),
    (4160, 24, 128, 2),
    (4160, 38, 64, 2),
    (4160, 30, 128, 1),
)
"""Tokens, heads, numbers a head and batch: Qwen-Image (also with a multiple of 128 tokens and with
two in one call), Stable Diffusion 3.5 large, Z-Image."""

_KERNELS: Final = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
}
_CALLS: Final = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m evidence.h200_levers.products",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write what was found")
    asked = parser.parse_args()
    found = {
        "products": [time_product(*sizes, time_ms) for sizes in (PEAK, *QWEN_IMAGE)],
        "attention": [
            time_attention(*sizes, kernel, time_ms) for sizes in ATTENTIONS for kernel in _KERNELS
        ],
    }
    text = json.dumps(found, indent=1)
    print(text)
    if asked.json is not None:
        asked.json.write_text(text + "\n", encoding="utf-8")


def time_product(
    rows: int,
    inputs: int,
    outputs: int,
    time_call: Callable[[Callable[[], Any]], float],
    device: str = "cuda",
) -> dict[str, Any]:
    """Time a product in bf16 with a bias and without.

    Args:
        rows: Tokens.
        inputs: Numbers of each.
        outputs: Numbers of each afterwards.
        time_call: Returns milliseconds of a call.
        device: Where.
    """
    made: dict[str, Any] = {"device": device, "dtype": torch.bfloat16}
    tokens = torch.randn(rows, inputs, **made)
    weights = torch.randn(outputs, inputs, **made) / inputs**0.5
    bias = torch.randn(outputs, **made)
    with_bias = time_call(lambda: linear(tokens, weights, bias))
    without = time_call(lambda: linear(tokens, weights))
    flop = 2 * rows * inputs * outputs
    return {
        "m": rows,
        "k": inputs,
        "n": outputs,
        "ms": round(with_bias, 4),
        "tflops": round(flop / with_bias / 1e9, 1),
        "tflops_no_bias": round(flop / without / 1e9, 1),
    }


def time_attention(
    tokens: int,
    heads: int,
    width: int,
    batch: int,
    kernel: str,
    time_call: Callable[[Callable[[], Any]], float],
    device: str = "cuda",
) -> dict[str, Any]:
    """Time attention in bf16, of tensors as they are and as diffusers' transposed ones.

    Args:
        tokens: Of one picture, its prompt included.
        heads: How many.
        width: Numbers a head.
        batch: Pictures.
        kernel: ``cudnn`` or ``flash``.
        time_call: Returns milliseconds of a call.
        device: Where.
    """
    made: dict[str, Any] = {"device": device, "dtype": torch.bfloat16}
    packed = [torch.randn(batch, heads, tokens, width, **made) for _ in range(3)]
    strided = [torch.randn(batch, tokens, heads, width, **made).transpose(1, 2) for _ in range(3)]
    with sdpa_kernel(_KERNELS[kernel]):
        packed_ms = time_call(lambda: scaled_dot_product_attention(*packed))
        strided_ms = time_call(lambda: scaled_dot_product_attention(*strided))
    return {
        "tokens": tokens,
        "heads": heads,
        "dim": width,
        "batch": batch,
        "kernel": kernel,
        "ms": round(packed_ms, 4),
        "strided_ms": round(strided_ms, 4),
        "tflops": round(4 * batch * heads * tokens * tokens * width / packed_ms / 1e9, 1),
    }


def time_ms(call: Callable[[], Any]) -> float:
    """Return milliseconds of a call on the GPU, the mean of thirty after five."""
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(_CALLS):
        call()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / _CALLS


if __name__ == "__main__":
    main()
