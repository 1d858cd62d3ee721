"""The pipeline under test as user code: a function that takes a request and returns a pipeline."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdperf.errors import ConfigurationError, ModelError, SubjectError
from sdperf.models.failing_line import describe_failing_line
from sdperf.models.layout import is_measured
from sdperf.models.loader import ResolvedModel, load_pipeline, prepare_pipeline
from sdperf.settings import LORA, SUBJECT

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PipelineRequest:
    """The request of a worker to a subject.

    Attributes:
        model: The checked model of the setting ``model``; a subject may use it or build its own.
        torch_dtype: Number format of weights and activations.
        device: The device that the pipeline has to run on.
    """

    model: ResolvedModel
    torch_dtype: torch.dtype
    device: torch.device
    _loads: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def is_loaded(self) -> bool:
        """Whether the plain pipeline was made for the subject."""
        return bool(self._loads)

    def load(self) -> Any:
        """Return the plain pipeline of the model, for the requested task.

        Returns:
            A `diffusers.DiffusionPipeline`.

        Raises:
            ModelError: The files do not make the pipeline.
        """
        pipeline = load_pipeline(self.model, torch_dtype=self.torch_dtype, device=self.device)
        self._loads.append(self.model.name)
        return pipeline


def require_module(name: str) -> None:
    """Look for the module of a subject where a worker would, and import nothing here.

    A module below a package is looked for in the package's folders, without executing the package.
    Where it is not there, the package's own code may say where its modules lie: then a process of
    its own imports the package and looks again.

    Args:
        name: ``module:function``.

    Raises:
        SubjectError: There is no such module.
    """
    module_name = name.partition(":")[0]
    top, *below = module_name.split(".")
    try:
        found = importlib.util.find_spec(top) or PathFinder.find_spec(top, [str(Path.cwd())])
    except ValueError:  # a module without a specification is imported already
        return
    if found is None:
        raise _lose_module(module_name, f"no {top} in this folder or on Python's search path")
    holder = top
    for part in below:
        folders = found.submodule_search_locations
        inner = None if folders is None else PathFinder.find_spec(part, list(folders))
        if inner is None:
            if _is_lost_to_a_process(module_name):
                raise _lose_module(module_name, f"no {part} in {holder}")
            return
        found, holder = inner, f"{holder}.{part}"


def _lose_module(module_name: str, got: str) -> SubjectError:
    return SubjectError(
        f"the subject's module {module_name} cannot be found",
        got=got,
        expected="a module that Python can import from here",
        hint="look at the name, or add its folder: PYTHONPATH=FOLDER before the command",
    )


def _is_lost_to_a_process(module_name: str) -> bool:
    """Tell whether a process that imports a module's packages finds no such module in them.

    A package that fails or takes longer is left to the worker, which says what happened.
    """
    search_path = [*sys.path, str(Path.cwd())]
    asked = json.dumps([module_name, search_path])
    try:
        ended = subprocess.run(
            [sys.executable, "-c", _LOOK, asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LOOK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == _LOST


_LOOK_LIMIT_S: Final = 60.0
_LOST: Final = 44
_LOOK: Final = f"""
import importlib.util, json, sys
name, sys.path[:] = json.loads(sys.argv[1])
try:
    found = importlib.util.find_spec(name)
except ModuleNotFoundError as error:
    sys.exit({_LOST} if (name + ".").startswith(f"{{error.name}}.") else 0)
sys.exit({_LOST} if found is None else 0)
"""
"""Looks for a module, whose packages it imports, and ends with `_LOST` where there is none."""


Subject = Callable[[PipelineRequest], Any]


def plain_subject(request: PipelineRequest) -> Any:
    """Return the model's own pipeline: the subject where the setting ``subject`` is not given."""
    return request.load()


def channels_last_subject(request: PipelineRequest) -> Any:
    """Return the model's own pipeline in channels_last: 16 bits in a fifth of the time on a CPU."""
    import torch

    pipeline = request.load()
    for name in ("unet", "vae"):
        network = getattr(pipeline, name, None)
        if network is not None:
            network.to(memory_format=torch.channels_last)
    return pipeline


def load_subject(name: str, code: tuple[str, ...] = ()) -> Subject:
    """Import user code that makes the pipeline under test.

    The current folder is searched too (last), as for ``python -m``.

    Args:
        name: ``module:function``.
        code: Folders to search before all others.

    Returns:
        The function, with its result checked to be a `diffusers.DiffusionPipeline` and made
        ready by `prepare_pipeline`. What the function itself raises passes through.

    Raises:
        ConfigurationError: The name has another form.
        SubjectError: The module cannot be imported, or it has no such callable.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise ConfigurationError(
            "the subject cannot be read",
            got=name,
            expected="module:function",
            hint=f"{SUBJECT} my_pipelines:make_pipeline",
        )
    sys.path[:0] = [folder for folder in code if folder not in sys.path]
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # its module may call sys.exit
        line = describe_failing_line(error)
        raise SubjectError(
            f"the subject's module {module_name} cannot be imported",
            got=f"{type(error).__name__}: {error}" + ("" if line is None else f" ({line})"),
            hint=f"python -c 'import {module_name}'",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise SubjectError(
            f"the subject's module {module_name} has no function {attribute}",
            got="nothing of that name" if function is None else type(function).__name__,
            expected="a function that takes a PipelineRequest and returns a pipeline",
        )

    def make_pipeline(request: PipelineRequest) -> Any:
        import diffusers

        pipeline = function(request)
        if not isinstance(pipeline, diffusers.DiffusionPipeline):
            raise ModelError(
                f"the subject {name} returned no pipeline",
                got=type(pipeline).__name__,
                expected="a diffusers.DiffusionPipeline",
            )
        _check_measured(pipeline, name)
        if request.model.loras and not request.is_loaded:
            raise ModelError(
                f"the subject {name} leaves {LORA} out: it makes its pipeline without "
                "request.load(), which loads what that names",
                got=f"{LORA} {request.model.lora}",
                hint=f"call request.load(), or leave {LORA} out and load it in the function",
            )
        return prepare_pipeline(pipeline)

    return make_pipeline


def _check_measured(pipeline: Any, name: str) -> None:
    """Refuse a pipeline of diffusers that needs more input than prompt and picture.

    A user's own call may supply the further input.

    Raises:
        ModelError: The pipeline needs more input.
    """
    call = type(pipeline).__call__
    caller = call.__qualname__.partition(".")[0]
    if call.__module__.startswith("diffusers.") and not is_measured(caller):
        raise ModelError(
            f"the subject {name} returned a pipeline that is called with other things than a "
            "prompt and a picture",
            got=type(pipeline).__name__,
            expected="a pipeline for text-to-image, image-to-image, inpainting, editing or "
            "ControlNet",
            hint="return such a pipeline of the same weights",
        )
