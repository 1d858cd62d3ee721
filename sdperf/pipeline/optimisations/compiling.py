"""Compiles networks and parts of them, and keeps their code."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import torch

import sdperf
from sdperf.errors import ConfigurationError
from sdperf.models.hashing import default_cache_dir

COMPILE_LIMIT: Final = 64
"""The most shapes for which one piece of code is compiled. Beyond them torch silently runs it
uncompiled, and its own limit of 8 is less than the number of prompts of a stream."""

_TUNED: Final[dict[str, Any]] = {
    "coordinate_descent_tuning": True,
    "coordinate_descent_check_all_directions": True,
    "conv_1x1_as_mm": True,
    "epilogue_fusion": False,
}
"""Settings of inductor. Source: diffusers' documentation, "Accelerate inference"."""

_COMPILED: Final = "compiled"
_UNUSED_DAYS: Final = 30
_DAY_S: Final = 86_400
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def compile_function(
    function: Callable[..., Any], names: Collection[str] = ()
) -> Callable[..., Any]:
    """Compile a network's call for the shapes that it meets; the first call of each is long.

    Args:
        function: The call.
        names: Optimisations that are on.
    """
    allow_shapes()
    compiled: Callable[..., Any] = torch.compile(function, dynamic=False, **_options(names))
    return compiled


def compile_blocks(denoiser: Any, names: Collection[str]) -> None:
    """Compile a denoiser's repeated blocks, in place.

    Args:
        denoiser: The network.
        names: Optimisations that are on.

    Raises:
        ConfigurationError: The denoiser names no such blocks.
    """
    names_of_blocks = find_repeated_blocks(denoiser)
    blocks = [part for part in denoiser.modules() if type(part).__name__ in names_of_blocks]
    if not blocks:
        raise ConfigurationError(
            f"{type(denoiser).__name__} names no repeated blocks to compile",
            hint="use compile instead of compile_blocks",
        )
    allow_shapes()
    is_dynamic = "compile_blocks_dynamic" in names
    for block in blocks:
        block.compile(dynamic=is_dynamic, **_options(names))  # as compile_repeated_blocks does


def find_repeated_blocks(denoiser: Any) -> frozenset[str]:
    """Return the classes of a denoiser's repeated blocks, which not all networks name."""
    for attribute in ("_repeated_blocks", "_no_split_modules"):
        if named := getattr(denoiser, attribute, None):
            return frozenset(named)
    return frozenset()


def compile_decoder(vae: Any, pipeline: str, names: Collection[str]) -> None:
    """Compile the part of a VAE that decodes, in place.

    Args:
        vae: The VAE.
        pipeline: The pipeline's class, for the message.
        names: Optimisations that are on.

    Raises:
        ConfigurationError: The VAE has no separate decoder.
    """
    decoder = getattr(vae, "decoder", None)
    if decoder is None:
        raise ConfigurationError(
            f"the VAE of {pipeline} has no decoder of its own to compile",
            hint="leave compile_vae out",
        )
    decoder.forward = compile_function(decoder.forward, names)


def allow_shapes() -> None:
    """Let torch compile the same code for more shapes than it does by itself."""
    config: Any = torch._dynamo.config
    for name in ("recompile_limit", "cache_size_limit"):  # the older name last
        if hasattr(config, name):
            setattr(config, name, max(COMPILE_LIMIT, getattr(config, name)))
            return


def keep_compiled_code() -> Path:
    """Let torch's compiler keep its code in this user's cache folder from now on.

    What lies there is executed by the next session that finds it. So the folder is this user's and
    nobody else can write there; each version of sdperf and torch has its own, in which torch itself
    looks code up by source, shapes, settings and GPU. Code of other versions goes once it was not
    used for a month.

    Returns:
        The folder.

    Raises:
        ConfigurationError: There is none that can be trusted.
    """
    cache = default_cache_dir()
    if cache is None:
        raise ConfigurationError(
            "there is no folder to keep compiled code in", hint="set SDPERF_CACHE or HOME"
        )
    kept = cache / _COMPILED
    folder = kept / f"sdperf-{sdperf.__version__}-torch-{torch.__version__}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for one in (kept, folder):
            one.mkdir(mode=stat.S_IRWXU, exist_ok=True)
        _refuse_writable(cache, stat.S_IWOTH)
        for one in (kept, folder):
            _refuse_writable(one, _WRITABLE_BY_OTHERS)
        os.utime(folder)
    except OSError as error:
        raise ConfigurationError(
            f"no compiled code can be kept in {folder}",
            got=error.strerror or str(error),
            hint="leave kept_code out, or point SDPERF_CACHE to another folder",
        ) from error
    _drop_unused(kept)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    return folder


def _refuse_writable(folder: Path, forbidden: int) -> None:
    found = folder.lstat()
    faults = {
        "it is not a folder": not stat.S_ISDIR(found.st_mode),
        "it is another user's": found.st_uid != os.getuid(),
        "others can write there": bool(found.st_mode & forbidden),
    }
    fault = next((text for text, is_so in faults.items() if is_so), None)
    if fault is not None:
        raise ConfigurationError(
            f"code that is kept in {folder} could be another's, and would be executed",
            got=fault,
            expected="a folder of yours that nobody else can write to",
            hint=f"chmod go-w {folder}, or leave kept_code out",
        )


def _drop_unused(kept: Path) -> None:
    for one in kept.iterdir():
        if time.time() - one.lstat().st_mtime > _UNUSED_DAYS * _DAY_S:
            shutil.rmtree(one, ignore_errors=True)


def _options(names: Collection[str]) -> dict[str, Any]:
    return {"options": dict(_TUNED)} if "tuned_kernels" in names else {}
