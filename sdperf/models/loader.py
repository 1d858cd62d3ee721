"""Makes a pipeline from a name; `sdperf.models.finding` finds the model's place.

`resolve_model` imports neither torch nor diffusers, so that pytest's own process can check a
model before any worker starts; `load_pipeline` is for the worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdperf.errors import ModelError
from sdperf.models.added.lora import LoraFile, find_loras, load_loras
from sdperf.models.added.single_file import SingleFile, load_denoiser, read_single_file
from sdperf.models.finding import describe_model, find_folder, find_single_file, names_in
from sdperf.models.hashing import (
    combine_hashes,
    compute_file_hashes,
    compute_model_hash,
    default_cache_dir,
)
from sdperf.models.headers import check_safetensors
from sdperf.models.known_warnings import known_warnings_ignored, torchao_quiet
from sdperf.models.layout import (
    INDEX_NAME,
    Component,
    ModelIndex,
    parse_json_object,
    parse_model_index,
    select_files,
)
from sdperf.models.made_up import describe_made_up
from sdperf.models.trust import check_configuration, check_trusted, find_library
from sdperf.settings import SUBJECT
from sdperf.shell import join_command
from sdperf.stats.summaries import sum_known
from sdperf.units import format_names

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)
_ONE_THREAD_LOADING: Final = {"HF_DEACTIVATE_ASYNC_LOAD": "1"}
"""Variables that transformers 5 reads at each load; version 4 loads on the calling thread."""


SAFETY_CHECKER: Final = "safety_checker"
_LEFT_OUT: Final = "_sdperf_left_out"
"""Attribute of a prepared pipeline: names of the parts that were removed from it."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model whose files are on this machine and checked; it can be sent to a worker.

    Attributes:
        name: The name that the user gave.
        folder: The folder of its files.
        model_hash: SHA-256 over names and contents of the files that are loaded.
        pipeline_class: Class name in diffusers that it is opened as.
        files: The files that are loaded, relative to the folder.
        variant: Weight variant, such as ``fp16``; ``None`` is the plain one.
        not_loaded: Components of the pipeline's class that are not loaded.
        weights: How many weights its networks have; ``None`` where the files do not tell.
        lora: LoRAs beside it, as they are typed.
        loras: These LoRAs, found and checked.
        single_file: File whose weights replace those of the folder; ``None`` without one.
    """

    name: str
    folder: Path
    model_hash: str
    pipeline_class: str
    files: tuple[str, ...]
    variant: str | None = None
    not_loaded: tuple[str, ...] = ()
    weights: int | None = None
    single_file: SingleFile | None = None
    lora: str = ""
    loras: tuple[LoraFile, ...] = ()

    @property
    def is_as_stored(self) -> bool:
        """Whether all that is loaded comes from its folder."""
        return self.single_file is None and not self.loras


def resolve_model(
    name: str,
    *,
    lora: str = "",
    offline: bool | None = None,
    cache_dir: Path | None = None,
    pipeline_class: str | None = None,
) -> ResolvedModel:
    """Find a model, fetch it where needed, and check it as far as possible without torch.

    Args:
        name: ``embedded``, a local diffusers folder, a file of weights, or a hub id. What begins
            with ``.``, ``/`` or ``~``, or exists, is never looked up on the hub.
        lora: LoRAs beside it, as the setting ``lora`` is typed.
        offline: True takes the hub's cache only; ``None`` asks the hub, which itself obeys
            ``HF_HUB_OFFLINE``, and falls back to its cache where the hub cannot be reached.
        cache_dir: Where file hashes are remembered; ``None`` is `default_cache_dir`.
        pipeline_class: Class of diffusers to open it as, which takes the same parts; ``None`` is
            the one that its index names.

    Raises:
        ModelError: The model does not exist, cannot be fetched, or is not a complete pipeline that
            draws images, with safetensors weights.
    """
    try:
        folder = find_folder(name, offline=bool(offline))
        where = describe_model(name)
        index = parse_model_index((folder / INDEX_NAME).read_bytes(), where)
        check_trusted(folder, index, where)
        path = find_single_file(name)
        file = None if path is None else read_single_file(path, where)
        held = () if file is None else file.list_held(index)
        selection = select_files(names_in(folder, index), index, where, held)
        _check_descriptions(folder, selection.descriptions, where)
        counts = [
            check_safetensors(folder / file, f"{file} of {where}") for file in selection.weights
        ]
        cache_dir = default_cache_dir() if cache_dir is None else cache_dir
        model_hash = compute_model_hash(folder, selection.names, cache_dir)
        files = selection.names
        if file is not None:
            counts.append(file.weights)
            files += (str(file.path),)
            model_hash = combine_hashes([model_hash, *compute_file_hashes([file.path], cache_dir)])
        loras = find_loras(lora, cache_dir)
        if loras:
            model_hash = combine_hashes([model_hash, *(repr(one.use.key) for one in loras)])
    except OSError as error:
        raise _unreadable(describe_model(name), error) from error
    return ResolvedModel(
        name=name,
        folder=folder,
        model_hash=model_hash,
        pipeline_class=pipeline_class or index.pipeline_class,
        files=files,
        variant=selection.variant,
        not_loaded=index.not_loaded,
        weights=sum_known(counts),
        single_file=file,
        lora=lora,
        loras=loras,
    )


def load_pipeline(
    resolved: ResolvedModel, *, torch_dtype: torch.dtype, device: torch.device | str
) -> Any:
    """Load a checked model as the plain pipeline of its class.

    Safety checker and progress bars are off, weights come from safetensors only, and nothing is
    fetched.

    Returns:
        A `diffusers.DiffusionPipeline` in evaluation mode on the device.

    Raises:
        ModelError: The files do not make the pipeline: damaged, of another shape, or of a class
            that this diffusers does not have.
    """
    import diffusers

    index = _check_again(resolved)
    for part in index.components:
        _require_library(part, describe_model(resolved.name))
    try:
        with known_warnings_ignored(), _quiet_loading() as complaints:
            pipeline = _load_parts(resolved, index, torch_dtype)
            load_loras(pipeline, resolved.loras)
    except ModelError:
        raise
    except Exception as error:
        if resolved.single_file is not None and "meta tensor" in str(error):
            raise ModelError(
                f"{describe_model(resolved.name)} lacks weights that its configuration asks for",
                got=f"no values for some weights of the {resolved.single_file.holds}",
                expected=f"a file that was made from the model in {resolved.folder}",
                hint="download it again, or lay the folder of its own model beside it",
            ) from error
        raise ModelError(
            f"{describe_model(resolved.name)} cannot be loaded as {resolved.pipeline_class}",
            got=f"{type(error).__name__}: {error}",
            expected=f"files that diffusers {diffusers.__version__} can load",
            hint="download the model again, or update diffusers and transformers",
        ) from error
    without_values = _weights_without_values(pipeline)
    missing = [*complaints, f"no values for {format_names(without_values)}"]
    if complaints or without_values:
        raise ModelError(
            f"{describe_model(resolved.name)} lacks weights that its configuration asks for",
            got=missing[0],
            expected="every weight in the safetensors files",
            hint="download the model again, or update transformers",
        )
    pipeline = prepare_pipeline(pipeline.to(device, silence_dtype_warnings=True))
    if SAFETY_CHECKER in index.left_out:
        _note_left_out(pipeline, SAFETY_CHECKER)
    return pipeline


def _load_parts(resolved: ResolvedModel, index: ModelIndex, torch_dtype: torch.dtype) -> Any:
    """Load the pipeline from its folder, and from the file that replaces weights."""
    import diffusers

    dtype = {_dtype_keyword(diffusers.__version__): torch_dtype}
    absent: dict[str, Any] = dict.fromkeys(resolved.not_loaded)
    if "safety_checker" in absent:
        absent["requires_safety_checker"] = False
    file, folder = resolved.single_file, resolved.folder
    if file is not None and file.holds == "checkpoint":
        kind: Any = getattr(diffusers, resolved.pipeline_class)
        return kind.from_single_file(
            str(file.path), config=str(folder), local_files_only=True, **dtype, **absent
        )
    brought = {} if file is None else load_denoiser(file, folder, index, **dtype)
    opened_as: Any = diffusers.DiffusionPipeline
    if resolved.pipeline_class != index.pipeline_class:
        opened_as = getattr(diffusers, resolved.pipeline_class)
    return opened_as.from_pretrained(
        folder,
        variant=resolved.variant,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **dtype,
        **absent,
        **brought,
    )


@contextlib.contextmanager
def weights_read_on_this_thread() -> Iterator[None]:
    """Make transformers create the tensors of a model on the calling thread.

    Its loader casts and moves weights on its own threads. Only one thread may use an Apple GPU, and
    on a processor a second thread that calls torch leaves a second team of OpenMP threads behind
    (`docs/what-a-case-leaves-behind.md`).
    """
    before = {name: os.environ.get(name) for name in _ONE_THREAD_LOADING}
    os.environ.update(_ONE_THREAD_LOADING)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def import_components(resolved: ResolvedModel) -> None:
    """Import the classes that the model's index names, so that imports are not timed as loading.

    diffusers and transformers import each class at its first use; `load_pipeline` reports classes
    that these versions lack.

    Raises:
        ModelError: The folder names or brings code; see `sdperf.models.trust`.
    """
    index = _check_again(resolved)
    wanted = [(part.library, part.class_name) for part in index.components]
    with _quiet_loading():
        for library, class_name in [("diffusers", resolved.pipeline_class), *wanted]:
            with contextlib.suppress(ImportError, AttributeError):
                getattr(find_library(library), class_name)


def find_denoiser_name(resolved: ResolvedModel) -> str | None:
    """Return the class name of the network that denoises; ``None`` where its index names none.

    Raises:
        ModelError: The folder is damaged, or names or brings code.
    """
    return _check_again(resolved).find_denoiser()


def find_scheduler_name(resolved: ResolvedModel) -> str | None:
    """Return the class name of the model's own scheduler; ``None`` where its index names none.

    Raises:
        ModelError: The folder is damaged, or names or brings code.
    """
    components = _check_again(resolved).components
    return next((part.class_name for part in components if part.name == "scheduler"), None)


def _check_again(resolved: ResolvedModel) -> ModelIndex:
    """Check again, where the files are used, that they name no code: they may have changed."""
    where = describe_model(resolved.name)
    try:
        index = parse_model_index((resolved.folder / INDEX_NAME).read_bytes(), where)
        check_trusted(resolved.folder, index, where)
        _check_descriptions(resolved.folder, resolved.files, where)
    except OSError as error:
        raise _unreadable(where, error) from error
    return index


def _require_library(part: Component, where: str) -> None:
    """Check a part's library before diffusers does, which in some versions imports any name."""
    try:
        library = find_library(part.library)
    except ImportError as error:
        raise ModelError(
            f"{where} takes a part from a library that cannot be used here",
            got=f"{part.name}: {part.library}: {error}",
            hint="update diffusers and transformers, and install what the pipeline needs",
        ) from error
    with contextlib.suppress(RuntimeError):  # of a lazy import, which diffusers explains itself
        if not hasattr(library, part.class_name):
            raise ModelError(
                f"{where} names a class for its {part.name} that {part.library} does not have",
                got=part.class_name,
                expected=f"a class of the installed {part.library}",
                hint=join_command(["pip", "install", "-U", part.library.partition(".")[0]])
                + "; for a class of your own "
                f"write a function that makes the pipeline, and give {SUBJECT}",
            )


def _unreadable(where: str, error: OSError) -> ModelError:
    return ModelError(
        f"{where} cannot be read",
        got=f"{error.strerror}: {error.filename}",
        hint="check the permissions of the model's files",
    )


def _check_descriptions(folder: Path, files: Iterable[str], where: str) -> None:
    for file in files:
        if file.endswith(".json"):
            name = f"{file} of {where}"
            check_configuration(parse_json_object((folder / file).read_bytes(), name), name)


def list_left_out(pipeline: Any) -> tuple[str, ...]:
    """List the parts of its model that a prepared pipeline does not have."""
    return tuple(getattr(pipeline, _LEFT_OUT, ()))


def _note_left_out(pipeline: Any, name: str) -> None:
    object.__setattr__(pipeline, _LEFT_OUT, (*list_left_out(pipeline), name))


def prepare_pipeline(pipeline: Any) -> Any:
    """Make a pipeline ready to be measured, in place: quiet, and the same on every machine.

    - Progress bars and safety checker are off.
    - SDXL's invisible watermark is off: it is on or off by whether a package is installed.
    - SDXL's own call still announces its deprecated `upcast_vae` as a warning at each image;
      the replacement that diffusers names takes its place.
    """
    import torch

    pipeline.set_progress_bar_config(disable=True)
    for name in (SAFETY_CHECKER, "watermark"):
        if getattr(pipeline, name, None) is not None:
            setattr(pipeline, name, None)
            _note_left_out(pipeline, name)
    if hasattr(pipeline, "upcast_vae"):
        pipeline.upcast_vae = lambda: pipeline.vae.to(dtype=torch.float32)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def _dtype_keyword(version: str) -> str:
    """Return the name of `from_pretrained`'s argument: diffusers renamed it in 0.40 and warns."""
    major, minor = (int(number) for number in version.split(".")[:2])
    return "dtype" if (major, minor) >= (0, 40) else "torch_dtype"


def _weights_without_values(pipeline: Any) -> list[str]:
    """List weights that diffusers left on the meta device: absent from the file, only logged."""
    return [
        f"{name}: {weight}"
        for name, part in pipeline.components.items()
        if hasattr(part, "named_parameters")
        for weight, values in part.named_parameters()
        if values.is_meta
    ]


class _LoadingLog(logging.Handler):
    """Collects what transformers only logs: weights without a value, which it made up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.made_up: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        lacking = describe_made_up(record.getMessage())
        if lacking is not None:
            self.made_up.append(lacking)
        else:
            _LOG.debug("%s: %s", record.name, record.getMessage())


@contextlib.contextmanager
def _quiet_loading() -> Iterator[list[str]]:
    """Keep diffusers and transformers from writing to the terminal while they load.

    Yields:
        What they log about weights that the files lack; filled as loading goes on.
    """
    log = _LoadingLog()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torchao_quiet())
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

        for name, library in (
            ("diffusers", diffusers_logging),
            ("transformers", transformers_logging),
        ):
            if library.is_progress_bar_enabled():
                library.disable_progress_bar()
                stack.callback(library.enable_progress_bar)
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(setattr, logger, "handlers", logger.handlers)
            logger.setLevel(logging.WARNING)
            logger.propagate = False
            logger.handlers = [log]
        yield log.made_up
