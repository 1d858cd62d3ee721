"""Finds a model: a folder, the embedded model, or the hub and its cache."""

from __future__ import annotations

import contextlib
import glob
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ModelError
from sdperf.models.added.single_file import SUFFIXES, find_base, is_single_file
from sdperf.models.layout import (
    INDEX_NAME,
    ModelIndex,
    parse_model_index,
    select_files,
)
from sdperf.record.workload import EMBEDDED
from sdperf.settings import MODEL
from sdperf.shell import join_command
from sdperf.urls import mask_url

_EMBEDDED_FOLDER: Final = Path(__file__).parent / "embedded"
_HUB_LIMIT_S: Final = 15.0
"""Seconds that the hub may be silent, as long as ``HF_HUB_ETAG_TIMEOUT`` asks for less."""

_SILENT: Final[set[str]] = set()
"""Addresses of hubs that did not answer this process, which are not waited for again."""

_TOLD: Final[set[str]] = set()
"""Those of them of which people were told that the cache serves in their place."""

_SLOWNESS: Final = {"TimeoutException", "Timeout", "TimeoutError"}
"""Names of errors of an answer that does not come, in the clients that hub versions use."""

_CONNECTION_FAILURES: Final = {"ConnectError", "ConnectTimeout", "ConnectionError"}
"""Names of errors of a connection that was never made, in the clients that hub versions use."""

_HUB_ID: Final = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)
_CHECKPOINTS: Final = (".ckpt", ".bin", ".pt", ".pth")
"""Endings of files of weights that run code when they are read."""

_FILES: Final = (*SUFFIXES, *_CHECKPOINTS, ".sft", ".onnx")
"""Endings that repositories of the hub do not have: such a name belongs to a file."""

_FOLDER_HINT: Final = f"give {MODEL} a diffusers folder (one with a model_index.json) or a hub id"


def describe_model(name: str) -> str:
    """Return a model's name for messages."""
    return "the embedded model" if name == EMBEDDED else f"the model {name!r}"


def find_index(name: str, beside: Iterable[str] = ()) -> Path:
    """Return a model's `model_index.json`, which is fetched where missing; no weights are.

    Args:
        name: The model, as `resolve_model` takes it.
        beside: Further files that are fetched with it, where the model has them.

    Raises:
        ModelError: The model does not exist, or cannot be fetched.
    """
    if name == EMBEDDED or _as_existing(name) is not None or not _is_hub_id(name):
        return find_folder(name, offline=True) / INDEX_NAME
    import huggingface_hub

    refusal = None
    try:
        _ask_hub(name)
    except Exception as error:  # noqa: BLE001  the HTTP client differs between hub versions
        refusal = error
    is_unreachable = refusal is not None and (_is_unconnected(refusal) or _is_slow(refusal))

    def fetch(file: str) -> str:
        return huggingface_hub.hf_hub_download(
            name,
            file,
            etag_timeout=_read_limit_s(),
            local_files_only=is_unreachable,
        )

    try:
        path = fetch(INDEX_NAME)
        for file in beside:
            with contextlib.suppress(Exception):  # not every pipeline has all of them
                fetch(file)
    except Exception as error:
        is_absent = isinstance(error, huggingface_hub.errors.LocalEntryNotFoundError)
        raise _fetch_failure(name, refusal if is_absent and refusal else error) from error
    if refusal is not None and is_unreachable:
        _tell_cached(name, refusal)
    return Path(path)


def find_denoiser(name: str) -> str | None:
    """Return the class name of a model's network that denoises; no weights are fetched.

    Args:
        name: The model, as `sdperf.models.loader.resolve_model` takes it.

    Returns:
        The class; ``None`` where the model's index names none.

    Raises:
        ModelError: The model does not exist, cannot be fetched, or has no usable index.
    """
    where = describe_model(name)
    try:
        index = parse_model_index(find_index(name).read_bytes(), where)
    except OSError as error:
        raise ModelError(f"{where} cannot be read", got=str(error), hint=_FOLDER_HINT) from error
    return index.find_denoiser()


def _ask_hub(name: str) -> Any:
    """Ask the hub about a model once, and return its description.

    Without a connection a download tries for half a minute before it says so, and for two minutes
    where a hub takes the connection and says nothing. Whatever else goes wrong is left to the
    download, which tries again. Where it fails too it says no more than that the cache has no such
    file.

    The limit holds for each wait for the hub's next bytes: a slow hub may take longer in all.

    Raises:
        TimeoutError: The hub did not answer this process before.
    """
    import huggingface_hub

    limit_s = _read_limit_s()
    api = huggingface_hub.HfApi()
    if api.endpoint in _SILENT:
        raise TimeoutError(f"{mask_url(api.endpoint)} did not answer before")
    try:
        return api.model_info(name, timeout=limit_s)
    except Exception as error:
        if _is_slow(error):
            _SILENT.add(api.endpoint)
        raise


def _tell_cached(name: str, reason: Exception) -> None:
    """Say once of each silent hub that the cache serves in its place."""
    import huggingface_hub

    endpoint = huggingface_hub.HfApi().endpoint
    if _is_slow(reason) and endpoint not in _TOLD:
        _TOLD.add(endpoint)
        print(
            f"sdperf: {describe_model(name)} comes from the hub's cache: {mask_url(endpoint)} "
            f"did not answer within {_read_limit_s():g} s",
            file=sys.stderr,
        )


def _read_limit_s() -> float:
    """Return how long the hub may be silent."""
    from huggingface_hub import constants

    return max(_HUB_LIMIT_S, float(constants.HF_HUB_ETAG_TIMEOUT))


def _is_slow(error: Exception) -> bool:
    """Tell whether the hub did not answer in time."""
    return bool({kind.__name__ for kind in type(error).__mro__} & _SLOWNESS)


def _is_unconnected(error: Exception) -> bool:
    """Tell whether a connection to the hub was never made."""
    return bool({kind.__name__ for kind in type(error).__mro__} & _CONNECTION_FAILURES)


def find_folder(name: str, *, offline: bool) -> Path:
    """Return the folder of a model, which is fetched where the hub's cache lacks it.

    Args:
        name: The model, as users type it.
        offline: Whether the hub must not be asked.

    Returns:
        The folder; for a single file of weights, the folder beside it.

    Raises:
        ModelError: The model does not exist, or is not a diffusers pipeline.
    """
    if name == EMBEDDED:
        if not (_EMBEDDED_FOLDER / INDEX_NAME).is_file():
            raise ModelError(
                "the embedded model is not part of this installation",
                got=f"no {_EMBEDDED_FOLDER / INDEX_NAME}",
                hint=f"reinstall sdperf, or give {MODEL} a folder or hub id",
            )
        return _EMBEDDED_FOLDER
    path = _as_existing(name)
    if path is None:
        if not _is_hub_id(name):
            if _names_file(name):
                raise ModelError(
                    f"{describe_model(name)} does not exist: there is no such file",
                    expected=f"a diffusers folder, or a file of {' or '.join(SUFFIXES)}",
                    hint="check the path and the folder that it is told from",
                )
            raise ModelError(
                f"{describe_model(name)} does not exist", expected="a folder", hint=_FOLDER_HINT
            )
        return _fetch(name, offline=offline)
    if path.is_file() and is_single_file(path):
        return find_base(path, describe_model(name))
    if path.is_file():
        raise ModelError(
            f"{describe_model(name)} is a file",
            expected=f"a diffusers folder, or a file of {' or '.join(SUFFIXES)}",
            hint="convert one that you trust: diffusers.StableDiffusionPipeline"
            f".from_single_file(FILE).save_pretrained(FOLDER), then {MODEL} FOLDER"
            if path.suffix in _CHECKPOINTS
            else _FOLDER_HINT,
        )
    if not (path / INDEX_NAME).is_file():
        raise ModelError(
            f"{describe_model(name)} is a folder without {INDEX_NAME}, so not a diffusers pipeline",
            hint=_FOLDER_HINT,
        )
    return path


def find_single_file(name: str) -> Path | None:
    """Return the file of weights with this name; ``None`` where the name is not such a file."""
    path = None if name == EMBEDDED else _as_existing(name)
    return path if path is not None and path.is_file() and is_single_file(path) else None


def _is_hub_id(name: str) -> bool:
    if name.startswith((".", "/", "~", "\\")) or _names_file(name):
        return False
    return bool(_HUB_ID.fullmatch(name))


def _names_file(name: str) -> bool:
    return name.lower().endswith(_FILES)


def _as_existing(name: str) -> Path | None:
    if not name.strip():
        raise ModelError("the name of the model is empty", hint=_FOLDER_HINT)
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None


def names_in(folder: Path, index: ModelIndex) -> list[str]:
    """List the files of a model's parts, each below the model's folder."""
    return [
        f"{part.name}/{path.name}"
        for part in index.components
        if (folder / part.name).is_dir()
        for path in sorted((folder / part.name).iterdir())
        if path.is_file()
    ]


def _fetch(name: str, *, offline: bool) -> Path:
    import huggingface_hub

    if offline:
        return _cached(name, None)
    try:
        info = _ask_hub(name)
    except Exception as error:  # noqa: BLE001  the HTTP client differs between hub versions
        return _cached(name, error)
    names = [file.rfilename for file in info.siblings or ()]
    if INDEX_NAME not in names:
        raise ModelError(
            f"{describe_model(name)} on the hub is not a diffusers pipeline",
            got=f"no {INDEX_NAME}",
            hint=_FOLDER_HINT,
        )
    try:
        index_path = huggingface_hub.hf_hub_download(name, INDEX_NAME, etag_timeout=_read_limit_s())
        index = parse_model_index(Path(index_path).read_bytes(), describe_model(name))
        selection = select_files(names, index, describe_model(name))
        return Path(
            huggingface_hub.snapshot_download(
                name,
                allow_patterns=[glob.escape(file) for file in selection.names],
                etag_timeout=_read_limit_s(),
            )
        )
    except ModelError:
        raise
    except Exception as error:
        raise _fetch_failure(name, error) from error


def _cached(name: str, reason: Exception | None) -> Path:
    """Return the cached snapshot of a hub model, where the hub is not asked or not reachable."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=[INDEX_NAME], local_files_only=True
        )
    except Exception as error:
        if reason is not None:
            raise _fetch_failure(name, reason) from reason
        raise _fetch_failure(name, error) from error
    if reason is not None:
        _tell_cached(name, reason)
    return Path(folder)


def _fetch_failure(name: str, error: Exception) -> ModelError:
    from huggingface_hub import constants, errors

    where = f"{describe_model(name)} is not a local folder, and"
    cause = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(cause, Exception):
        # The download says no more than that nothing is cached, also where the hub was slow.
        error = cause if _is_slow(cause) else error
    if isinstance(error, errors.GatedRepoError):
        return ModelError(
            f"{where} its hub page asks you to accept terms first",
            hint=f"accept them at https://huggingface.co/{name}, then: hf auth login",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return ModelError(
            f"{where} the hub has none of this name (or it is private)",
            expected="an existing folder or a hub id such as "
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            hint="check the name; for a private model: hf auth login",
        )
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return ModelError(
            f"{where} it is not in the hub's cache, which is all there is while offline",
            hint="with a network: "
            + join_command(["hf", "download", name])
            + f"; or give {MODEL} a folder",
        )
    if _is_slow(error):
        return ModelError(
            f"{where} the hub does not answer in time",
            got=f"silence from {mask_url(constants.ENDPOINT)}",
            expected=f"a word within {_read_limit_s():g} s, or the model in the hub's cache",
            hint=f"give {MODEL} a local folder, or download it where the hub answers: "
            + join_command(["hf", "download", name])
            + "; then HF_HUB_OFFLINE=1 asks nobody. HF_HUB_ETAG_TIMEOUT=60 waits for a minute",
        )
    return ModelError(
        f"{where} it could not be fetched from the hub",
        got=f"{type(error).__name__}: {error}",
        hint=f"check the network, or give {MODEL} a folder, or embedded",
    )
