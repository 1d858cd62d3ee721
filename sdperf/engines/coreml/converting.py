"""Convert a part to a Core ML package, wherever coremltools works, on Linux too."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import coremltools as ct
import numpy as np
import torch

from sdperf.engines.coreml.attention import split_attention
from sdperf.engines.coreml.palettes import (
    CHANNELS_IN_A_GROUP,
    FEWEST_ELEMENTS,
    fit_palette,
    is_grouped,
)
from sdperf.engines.coreml.settings import CoreMlSettings
from sdperf.engines.protocol import Part
from sdperf.errors import EngineError
from sdperf.settings import ENGINE

TARGET: Final = "macOS15"
"""The oldest system that runs what is converted: the first with fused attention and palettes by
groups of channels."""

PACKAGE_NAME: Final = "model.mlpackage"

_SINUSOIDS: Final = frozenset({"sin", "cos"})
_ON_THE_WAY: Final = frozenset(
    {"cast", "const", "expand_dims", "mul", "real_div", "reshape", "slice_by_index", "tile"}
)
"""Operations between a timestep and its sinusoids."""

_MAX_MESSAGE: Final = 200


def convert_part(part: Part, settings: CoreMlSettings, *, half: bool, folder: Path) -> Path:
    """Convert a part for exactly the rows of one image and save it as a package.

    Args:
        part: The part; it is not changed.
        settings: Settings of the conversion.
        half: Whether to compute in float16; inputs and outputs are float32 (ids int32).
        folder: Folder for the package; it exists.

    Returns:
        The package.

    Raises:
        EngineError: An operator that torch cannot export or Core ML lacks, or no such palette.
        OSError: The package cannot be written.
    """
    inputs = pick_rows(part)
    package = folder / PACKAGE_NAME
    with _quiet():
        try:
            program = _export(part, settings, inputs)
            model = _convert(program, part, inputs, half=half)
            if settings.bits is not None and part.name == "unet":
                model = _palettise(model, settings.bits)
            model.save(str(package))
        except OSError:
            raise
        except Exception as error:
            reason = _describe(error)
            _let_go(error)
            raise EngineError(
                f"the {part.name} cannot be converted to Core ML",
                got=reason,
                expected="operators that torch.export and coremltools know",
                hint=f"{ENGINE} torch",
            ) from error
    return package


def pick_rows(part: Part) -> dict[str, torch.Tensor]:
    """Cut a part's example inputs to the rows of one image, in float32 or int32 on the CPU."""
    picked = {}
    for name, tensor in part.inputs.items():
        rows = tensor if name in part.fixed else tensor[: part.rows]
        picked[name] = rows.cpu().to(torch.float32 if rows.is_floating_point() else torch.int32)
    return picked


def _export(part: Part, settings: CoreMlSettings, inputs: dict[str, torch.Tensor]) -> Any:
    # coremltools converts a network in half precision only in part, and halves one in float32.
    module = copy.deepcopy(part.module).to("cpu", torch.float32)
    if settings.attention == "split_einsum" and part.name == "unet":
        split_attention(module)
    with torch.no_grad():
        exported = torch.export.export(module, tuple(inputs.values()))
        # coremltools has no `alias`, which torch leaves where a constant is used as it is.
        aliases: dict[Any, Any] = {torch.ops.aten.alias.default: lambda tensor: tensor}
        return exported.run_decompositions(aliases)


def _convert(program: Any, part: Part, inputs: dict[str, torch.Tensor], *, half: bool) -> Any:
    types = [
        ct.TensorType(
            name=name,
            shape=tuple(tensor.shape),
            dtype=np.float32 if tensor.is_floating_point() else np.int32,
        )
        for name, tensor in inputs.items()
    ]
    precision = (
        ct.transform.FP16ComputePrecision(op_selector=_HalvesAllButSinusoids())
        if half
        else ct.precision.FLOAT32
    )
    return ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target[TARGET],
        compute_precision=precision,
        inputs=types,
        outputs=[ct.TensorType(name=name, dtype=np.float32) for name in part.outputs],
        skip_model_load=True,
    )


def _palettise(model: Any, bits: int) -> Any:
    from coremltools.optimize import coreml as optimising

    by_groups: dict[str, Any] = {
        "granularity": "per_grouped_channel",
        "group_size": CHANNELS_IN_A_GROUP,
    }
    config = optimising.OpPalettizerConfig(
        mode="custom",
        lut_function=functools.partial(fit_palette, size=2**bits),
        weight_threshold=FEWEST_ELEMENTS,
        **(by_groups if is_grouped(bits) else {}),
    )
    return optimising.palettize_weights(model, optimising.OptimizationConfig(global_config=config))


class _HalvesAllButSinusoids:
    """Selects the operations that may run in float16.

    A timestep times a frequency is an angle of up to 1000, which float16 rounds to half a radian:
    whatever leads to a sine stays in float32.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bool] = {}

    def __call__(self, operation: Any) -> bool:
        return not self._leads_to_a_sinusoid(operation)

    def _leads_to_a_sinusoid(self, operation: Any) -> bool:
        """Follow an operation's results as far as they are still plain arithmetic of one input."""
        known = self._kept.get(operation.name)
        if known is None:
            known = operation.op_type in _SINUSOIDS or (
                operation.op_type in _ON_THE_WAY
                and any(
                    self._leads_to_a_sinusoid(child)
                    for output in operation.outputs
                    for child in output.child_ops
                )
            )
            self._kept[operation.name] = known
        return known


def _describe(error: BaseException) -> str:
    lines = [line.strip() for line in str(_chain(error)[-1]).splitlines() if line.strip()]
    return f"{type(_chain(error)[-1]).__name__}: {lines[0][:_MAX_MESSAGE] if lines else ''}"


def _let_go(error: BaseException) -> None:
    """Release the networks and temporary files that tracebacks of a failed conversion hold."""
    for one in _chain(error):
        traceback.clear_frames(one.__traceback__)


def _chain(error: BaseException) -> list[BaseException]:
    """List an error and its causes, the innermost last."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out progress bars and messages of coremltools and torch about their own versions."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
