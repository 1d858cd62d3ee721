"""Chooses the diffusers class for a task with a model's weights, and the picture that it gets.

diffusers is not imported and nothing is loaded: classes and their calls are read from its source.
The worker checks the loaded pipeline again, see `sdperf.pipeline.input_pictures`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.images.input_files import InputFile, default_picture, read_mask, read_picture
from sdperf.models.finding import find_index
from sdperf.models.layout import INDEX_NAME, parse_json_object, starts_from_pictures
from sdperf.models.tasks.calls import PictureCall, describe_call, settle_picture
from sdperf.models.tasks.signatures import Mapped, read_mapping, read_parameters
from sdperf.record.workload import InputPicture, Task, Workload
from sdperf.settings import INPUT_IMAGE, MASK, STRENGTH, TASK

_MAPPED: Final[dict[Task, Mapped]] = {
    "text-to-image": "TEXT2IMAGE",
    "image-to-image": "IMAGE2IMAGE",
    "inpaint": "INPAINT",
}
"""Tasks for which a folder can be opened although it names another class: the weights are equal."""


@dataclass(frozen=True)
class AskedPicture:
    """The user's choice of task and picture; ``None`` leaves it open.

    Attributes:
        task: The task.
        picture: File of the picture.
        mask: File of the mask.
        strength: Share of the steps that are drawn.
    """

    task: Task | None = None
    picture: Path | None = None
    mask: Path | None = None
    strength: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the user chose nothing."""
        return self == AskedPicture()


@dataclass(frozen=True)
class ChosenPicture:
    """The input that a session draws from.

    Attributes:
        picture: The picture in the workload; ``None`` draws from the prompt alone.
        files: Pixels that workers do not have yet.
        pipeline_class: Class of diffusers that the model is opened as; ``None`` for its own.
    """

    picture: InputPicture | None = None
    files: tuple[InputFile, ...] = ()
    pipeline_class: str | None = None


def choose_picture(model: str, asked: AskedPicture, *, is_subject: bool) -> ChosenPicture:
    """Choose task, class and picture of a session.

    Without a request, the class of the model decides, see `settle_workload`. A user's function is
    unknown before it is called: requests are passed on, and the rest is left to the pipeline that
    it returns.

    Args:
        model: The model, as `sdperf.models.sampling.preset_for` takes it.
        asked: The user's choice.
        is_subject: Whether the user's function makes the pipeline.

    Raises:
        ModelError: The model does not exist.
        ConfigurationError: A file cannot be used, or the model cannot do the task.
    """
    if asked.is_open:
        return ChosenPicture()
    own = _read_class(model)
    files, given = _read_files(asked)
    if is_subject:
        kind = None if asked.task is None else find_task_class(own, asked.task)
        picture = None if asked.task == "text-to-image" else _start(given, asked.task)
        if asked.task == "text-to-image":
            _refuse_beside_text(asked)
        return ChosenPicture(picture, files, None if kind == own else kind)
    task = asked.task or _guess_task(own, asked)
    kind = find_task_class(own, task)
    if kind is None:
        raise ConfigurationError(
            f"a {own} cannot be opened for {task}",
            got=f"{TASK} {task}",
            expected=", ".join(_list_tasks(own)) or "another model",
            hint=f"leave {TASK} out for what the model's own class does",
        )
    if task == "text-to-image":
        _refuse_beside_text(asked)
        return ChosenPicture(None, (), None if kind == own else kind)
    call = read_picture_call(kind)
    picture = settle_picture(_start(given, task), call)
    return ChosenPicture(picture, files, None if kind == own else kind)


def settle_workload(workload: Workload, pipeline_class: str) -> Workload:
    """Return a workload with the picture in the form that a diffusers class takes.

    Args:
        workload: The requested workload.
        pipeline_class: The class that the model is opened as.

    Raises:
        ConfigurationError: The class takes no picture, and one was asked for.
    """
    picture = settle_picture(workload.picture, read_picture_call(pipeline_class))
    return workload if picture == workload.picture else replace(workload, picture=picture)


def find_task_class(own: str, task: Task) -> str | None:
    """Return the class of diffusers that does a task with the weights of another one.

    Args:
        own: Class that a model names.
        task: The requested task.

    Returns:
        ``own`` where it does the task itself; ``None`` where no class is known to.
    """
    if _find_own_task(own) == task:
        return own
    call = read_picture_call(own)
    if call is not None and call.task == task:
        return own
    if task not in _MAPPED:
        return None
    families = [
        family
        for each in _MAPPED.values()
        for family, kind in read_mapping(each).items()
        if kind == own
    ]
    mapping = read_mapping(_MAPPED[task])
    for kind in (mapping[family] for family in families if family in mapping):
        found = read_picture_call(kind)
        if _find_own_task(kind) == task or (found is not None and found.task == task):
            return kind
    return None


def read_picture_call(pipeline_class: str) -> PictureCall | None:
    """Describe the call of a class of the installed diffusers; ``None``: it takes no pictures."""
    parameters = read_parameters(pipeline_class)
    return None if parameters is None else describe_call(pipeline_class, parameters)


def _find_own_task(pipeline_class: str) -> Task | None:
    """Return the default task of a class."""
    if not starts_from_pictures(pipeline_class):
        return "text-to-image"
    call = read_picture_call(pipeline_class)
    return None if call is None else call.task


def _guess_task(own: str, asked: AskedPicture) -> Task:
    """Return the task that follows from a model's class and the user's files."""
    task = _find_own_task(own)
    if task is None:
        raise ConfigurationError(
            f"it is not known how a {own} takes its picture",
            got="no such call in the installed diffusers",
            hint=f"update diffusers, or name the task: {TASK} image-to-image",
        )
    if task != "text-to-image":
        return task
    call = read_picture_call(own)
    if call is not None and asked.mask is None:
        return call.task
    return "image-to-image" if asked.mask is None else "inpaint"


def _list_tasks(own: str) -> list[Task]:
    tasks: tuple[Task, ...] = ("text-to-image", "image-to-image", "inpaint", "edit", "control")
    return [task for task in tasks if find_task_class(own, task) is not None]


def _read_class(model: str) -> str:
    index = find_index(model)
    described = parse_json_object(index.read_bytes(), f"the {INDEX_NAME} of {model}")
    return str(described.get("_class_name"))


def _read_files(asked: AskedPicture) -> tuple[tuple[InputFile, ...], InputPicture | None]:
    """Read the given files; ``None`` where no picture, mask or strength was given."""
    picture = None if asked.picture is None else read_picture(asked.picture, str(INPUT_IMAGE))
    mask = None if asked.mask is None else read_mask(asked.mask, str(MASK))
    files = tuple(one for one in (picture, mask) if one is not None)
    if not files and asked.strength is None:
        return (), None
    return files, InputPicture(
        sha256=(picture or default_picture()).sha256,
        mask_sha256=None if mask is None else mask.sha256,
        strength=asked.strength,
    )


def _start(given: InputPicture | None, task: Task | None) -> InputPicture:
    """Return the input picture of a pipeline, before it is known how the pipeline takes it."""
    picture = given or InputPicture(default_picture().sha256)
    return InputPicture(picture.sha256, picture.mask_sha256, picture.strength, task)


def _refuse_beside_text(asked: AskedPicture) -> None:
    for setting, value in (
        (INPUT_IMAGE, asked.picture),
        (MASK, asked.mask),
        (STRENGTH, asked.strength),
    ):
        if value is not None:
            raise ConfigurationError(
                f"{TASK} text-to-image draws from the prompt alone",
                got=f"{setting} {value}",
                hint=f"leave {setting} out, or {TASK} image-to-image",
            )
