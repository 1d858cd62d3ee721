"""Warnings of diffusers and torchao that say nothing about the pipeline under test."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Final

_NETWORKS: Final = r"diffusers\.(models|pipelines|schedulers)|transformers\."


@contextlib.contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Ignore what diffusers' pipelines and networks do in ways that are deprecated.

    They call transformers' text encoders too, which then warn in their own name.

    Where warnings are errors it would stop a generation, and a user can do nothing about it.
    The filters are the process's own: no other thread may change them meanwhile.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "__array__ implementation", DeprecationWarning, r"diffusers\.schedulers"
        )
        warnings.filterwarnings("ignore", ".* is deprecated", FutureWarning, _NETWORKS)
        yield


@contextlib.contextmanager
def torchao_quiet() -> Iterator[None]:
    """Keep what torchao logs when it is imported, as diffusers does, off the terminal.

    It warns of kernels for other GPUs that do not load here; none of them is used.
    """
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
