"""What engines share that convert what torch exports."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any, Final

_KNOWN: Final = (
    (UserWarning, r"# The axis name: rows will not be used"),
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
)
"""What the exporter of torch 2.13 warns of itself."""


def first_line(error: BaseException) -> str:
    """Say what an exporter stumbled over: its innermost cause, one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """Leave out what exporters say of themselves; nothing of it is about the part."""
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        for category, message in _KNOWN:
            warnings.filterwarnings("ignore", message, category)
        for name in ("torch.onnx", "onnxscript", "onnx_ir", "root"):
            logger: Any = logging.getLogger(None if name == "root" else name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        yield
