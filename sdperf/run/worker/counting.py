"""What the stages of an image ask of a device, and what the device can do; inside the worker.

Nothing here is part of a timed round: counting slows every operator down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sdperf.device import Device
from sdperf.measure.clock import Clock, monotonic_clock, timed
from sdperf.pipeline.stages import Stages
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.stages import PeakRate, StageCost, StageName
from sdperf.record.workload import ImageRequest, Precision
from sdperf.run.worker.stagewise import generate_stagewise

T = TypeVar("T")

PEAK_SIZES: Final = {"cpu": (512, 1024, 1536), "mps": (1024, 2048, 4096), "cuda": (4096, 8192)}
"""Sides of the square matrices that are multiplied, by device: the best of them is the peak."""

PEAK_REPEATS: Final = 5
OPERATOR_REPEATS: Final = 50

_ATTENTION_KERNELS: Final = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_attention_math_for_mps",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""Attention operators. torch's own counter knows the first three only, and in older versions
refuses them where several heads of the query share one of the key, as in text encoders of 2025."""


class OperatorCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that reach the dispatcher, views included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count and go on."""
        self.count += 1
        return func(*args, **(kwargs or {}))


def count_image(stages: Stages, ahead: TokenizeAhead, request: ImageRequest) -> list[StageCost]:
    """Generate one image and count the work of each stage.

    Args:
        stages: The pipeline, bound to its workload.
        ahead: Stand-ins for its tokenizers, entered, and taught how they are called.
        request: The image.
    """
    costs: list[StageCost] = []

    flops = FlopCounterMode(display=False, custom_mapping=_attention_formulas())
    operators = OperatorCounter()

    @contextlib.contextmanager
    def around(stage: StageName) -> Iterator[None]:
        flop, operations = flops.get_total_flops(), operators.count
        yield
        flop, operations = flops.get_total_flops() - flop, operators.count - operations
        costs.append(StageCost(stage, int(flop), operations))

    with flops, operators:
        generate_stagewise(stages, ahead, request, around)
    return costs


def count_work(work: Callable[[], T]) -> tuple[T, int, int]:
    """Call ``work`` and count its floating-point operations and its operators.

    Matrix products, convolutions and attention are counted, an addition like a multiplication.

    Returns:
        What ``work`` returned, floating-point operations, operators.

    Source: `torch.utils.flop_counter`; attention is counted here.
    """
    flops = FlopCounterMode(display=False, custom_mapping=_attention_formulas())
    operators = OperatorCounter()
    with flops, operators:
        result = work()
    return result, int(flops.get_total_flops()), operators.count


def measure_peak(
    device: Device, precision: Precision, *, clock: Clock = monotonic_clock
) -> PeakRate | None:
    """Measure the fastest square matrix product of a precision.

    Where fp32 lets convolutions round their factors to TF32 (torch's default on CUDA), the
    product is measured so too and the faster one is the peak: no operator may exceed it.

    Returns:
        The peak; ``None`` where the device refuses every size.
    """
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    threads = torch.get_num_threads() if device.kind == "cpu" else None
    found: list[PeakRate] = []
    for number_format, settings in _formats(device, precision):
        with settings():
            for size in PEAK_SIZES[device.kind]:
                with contextlib.suppress(RuntimeError):
                    duration_s = _time_product(device, dtype, size, clock)
                    if duration_s > 0:
                        rate = 2 * size**3 / duration_s
                        found.append(PeakRate(number_format, rate, size, threads))
    device.empty_cache()
    return max(found, key=lambda peak: peak.flop_per_s, default=None)


def measure_operator_s(
    device: Device, precision: Precision, *, clock: Clock = monotonic_clock
) -> float:
    """Measure what an operator costs that has next to nothing to compute, seconds.

    The operators are those of a small network on a 4 x 4 image, called as diffusers' modules call
    theirs. It is what Python, dispatch and the launch take together.
    """
    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    network = torch.nn.Sequential(
        torch.nn.GroupNorm(2, 8),
        torch.nn.SiLU(),
        torch.nn.Conv2d(8, 8, 3, padding=1),
        torch.nn.Flatten(2),
        torch.nn.LayerNorm(16),
        torch.nn.Linear(16, 16),
    ).to(device=device.torch_device, dtype=dtype)
    image = torch.ones(1, 8, 4, 4, device=device.torch_device, dtype=dtype)
    with torch.no_grad():
        _, _, operators = count_work(lambda: network(image))

        def run() -> None:
            for _ in range(OPERATOR_REPEATS):
                network(image)

        run()
        seconds = min(
            timed(run, synchronize=device.synchronize, clock=clock).duration_s
            for _ in range(PEAK_REPEATS)
        )
    return seconds / (operators * OPERATOR_REPEATS)


def _time_product(device: Device, dtype: torch.dtype, size: int, clock: Clock) -> float:
    """Time one product, the best of several; the first, which may compile, is not counted."""
    where = device.torch_device
    generator = torch.Generator(where).manual_seed(0)
    left, right = (
        torch.randn(size, size, generator=generator, device=where).to(dtype) for _ in range(2)
    )
    product = left @ right
    return min(
        timed(
            lambda: torch.mm(left, right, out=product),
            synchronize=device.synchronize,
            clock=clock,
        ).duration_s
        for _ in range(PEAK_REPEATS)
    )


def _formats(device: Device, precision: Precision) -> list[tuple[str, Callable[[], Any]]]:
    formats: list[tuple[str, Callable[[], Any]]] = [(str(precision), contextlib.nullcontext)]
    if device.kind == "cuda" and precision == "fp32" and _may_round_to_tf32():
        formats.append(("tf32", _tf32_products))
    return formats


def _may_round_to_tf32() -> bool:
    """Tell whether convolutions or products may round fp32 factors; torch's default is yes."""
    try:
        return bool(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:  # set through torch's newer interface, which the older one cannot read
        return True


@contextlib.contextmanager
def _tf32_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _attention_formulas() -> dict[Any, Any]:
    """Give attention kernels a formula that holds for shared heads too."""
    kernels = (getattr(torch.ops.aten, name, None) for name in _ATTENTION_KERNELS)
    return {kernel: _attention_flop for kernel in kernels if kernel is not None}


def _attention_flop(
    query_shape: Any, key_shape: Any, value_shape: Any, *_args: Any, **_kwargs: Any
) -> int:
    """Count both matrix products of attention, for every head of the query."""
    images, heads, queries, width = query_shape
    return int(2 * images * heads * queries * key_shape[-2] * (width + value_shape[-1]))
