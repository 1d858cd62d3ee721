"""Reads where operators go on MPS from torch's list ``native_functions.yaml``, by torchgen.

Structured delegates take the kernel of their ``out`` variant, generated variants that of what they
are generated from, composites count as composites. Kernels that are registered in C++ only are
not in this list: `tools.mps_tables` reads those from the macOS wheels' library.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final, Literal

from sdperf.errors import ConfigurationError

Letter = Literal["m", "p", "c", "i", "e", "x", "-"]

LETTERS: Final[dict[Letter, str]] = {
    "m": "has a kernel for MPS",
    "p": "is registered for MPS in Python, which takes it apart into several kernels at each call",
    "c": "is registered for MPS as a copy to the CPU and back",
    "i": "is taken apart into other operators before it reaches a backend",
    "e": "has one implementation for all backends, which calls other operators",
    "x": "has no kernel for MPS",
    "-": "does not exist in this version",
}


def read_torchgen_routes() -> dict[str, Letter]:
    """Read the list that ships with the torchgen on the import path.

    Returns:
        A letter for each operator of ``aten``, by its name and overload (``add.Tensor``).

    Raises:
        ConfigurationError: There is no torchgen, or it cannot read its own list.
    """
    try:
        generator: Any = importlib.import_module("torchgen.gen")
        model: Any = importlib.import_module("torchgen.model")
    except ImportError as error:
        raise ConfigurationError(
            "torch's list of operators cannot be read",
            got=str(error),
            expected="torchgen, which ships with torch, and PyYAML",
            hint="pip install pyyaml",
        ) from error
    folder = Path(str(generator.__file__)).parent / "packaged/ATen/native"
    parsed = generator.parse_native_yaml(folder / "native_functions.yaml", folder / "tags.yaml")
    on_mps = {str(name) for name in parsed.backend_indices[model.DispatchKey.MPS].index}
    return {
        str(function.func.name): _letter(function, on_mps) for function in parsed.native_functions
    }


def _letter(function: Any, on_mps: set[str]) -> Letter:
    delegate = function.structured_delegate
    if str(function.func.name) in on_mps or (delegate is not None and str(delegate) in on_mps):
        return "m"
    if function.has_composite_implicit_autograd_kernel:
        return "i"
    if function.has_composite_explicit_autograd_kernel:
        return "e"
    is_structured = function.structured or delegate is not None
    if function.has_composite_explicit_autograd_non_functional_kernel and not is_structured:
        return "e"
    return "x"
