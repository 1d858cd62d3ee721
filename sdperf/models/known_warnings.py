"""Silences warnings of diffusers and torchao that do not concern the pipeline under test."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Final

_NETWORKS: Final = r"diffusers\.(models|pipelines|schedulers)|transformers\."


@contextlib.contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Ignore warnings that diffusers' pipelines and networks cause by deprecated calls.

    They also call transformers' text encoders, which then warn themselves.

    Where warnings are errors they would stop a generation, and a user cannot prevent them. The
    filters belong to the process: no other thread may change them meanwhile.

    diffusers' FasterCache calls torch.meshgrid in a way that torch will change.

    SDXL logs, each time that it encodes a picture, that no part of its VAE has to stay in float32.
    """
    with warnings.catch_warnings(), _of_no_part_ignored():
        warnings.filterwarnings(
            "ignore", "__array__ implementation", DeprecationWarning, r"diffusers\.schedulers"
        )
        warnings.filterwarnings("ignore", ".* is deprecated", FutureWarning, _NETWORKS)
        warnings.filterwarnings("ignore", "torch.meshgrid: in an upcoming release", UserWarning)
        yield


@contextlib.contextmanager
def _of_no_part_ignored() -> Iterator[None]:
    logger = logging.getLogger("diffusers.models.modeling_utils")
    logger.addFilter(_names_a_part)
    try:
        yield
    finally:
        logger.removeFilter(_names_a_part)


def _names_a_part(record: logging.LogRecord) -> bool:
    return "should be kept in float32: []" not in record.getMessage()


@contextlib.contextmanager
def torchao_quiet() -> Iterator[None]:
    """Keep torchao's log lines at its import, which diffusers also does, off the terminal.

    torchao warns of kernels for other GPUs that do not load here; they are not used.
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
