"""How a pipeline's call takes pictures, and a request's picture settled for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.images.input_files import default_mask, default_picture
from sdperf.models.layout import starts_from_pictures
from sdperf.record.workload import InputPicture, Task
from sdperf.settings import INPUT_IMAGE, MASK, STRENGTH, TASK

_TAKES_CONTROL: Final = re.compile(r"Control|Adapter")
"""Classes whose plain ``image`` steers each step and is drawn by nobody."""

_IMAGE: Final = "image"
_CONTROL_IMAGE: Final = "control_image"
_MASKS: Final = ("mask_image", "control_mask")
_SIZES: Final = ("max_area",)
"""Arguments that hold a pipeline to the size that was asked for, beside height and width."""


@dataclass(frozen=True)
class PictureCall:
    """How one class' call takes pictures.

    Attributes:
        pipeline_class: Its name.
        task: What it does with them.
        pictures: Arguments that take the picture.
        mask: The argument that takes the mask; ``None`` where it takes none.
        takes_strength: Whether it takes a number for how much of the picture to draw again.
        strength: The strength of a call that names none.
        is_needed: Whether it draws nothing without a picture.
        sizes: Arguments that hold it to the size of the picture.
    """

    pipeline_class: str
    task: Task
    pictures: tuple[str, ...]
    mask: str | None = None
    takes_strength: bool = False
    strength: float | None = None
    is_needed: bool = True
    sizes: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """All arguments that take something of the picture, in order."""
        mask = () if self.mask is None else (self.mask,)
        strength = ("strength",) if self.takes_strength else ()
        return (*self.pictures, *mask, *strength, *self.sizes)


def describe_call(pipeline_class: str, parameters: Mapping[str, object]) -> PictureCall | None:
    """Tell from a call's arguments what it does with pictures; ``None`` where it takes none.

    Args:
        pipeline_class: Class name in diffusers.
        parameters: The default of each argument of its call.

    >>> describe_call("FluxPipeline", {"prompt": None}) is None
    True
    >>> describe_call("FluxKontextPipeline", {"image": None}).task
    'edit'
    """
    pictures = tuple(name for name in (_IMAGE, _CONTROL_IMAGE) if name in parameters)
    if not pictures:
        return None
    mask = next((name for name in _MASKS if name in parameters), None)
    takes_strength = "strength" in parameters
    steers = _CONTROL_IMAGE in pictures or _TAKES_CONTROL.search(pipeline_class) is not None
    task: Task = "edit"
    if mask is not None:
        task = "inpaint"
    elif takes_strength:
        task = "image-to-image"
    elif steers:
        task = "control"
    strength = parameters.get("strength")
    return PictureCall(
        pipeline_class=pipeline_class,
        task=task,
        pictures=pictures,
        mask=mask,
        takes_strength=takes_strength,
        strength=float(strength) if isinstance(strength, int | float) else None,
        is_needed=starts_from_pictures(pipeline_class),
        sizes=tuple(name for name in _SIZES if name in parameters),
    )


def settle_picture(picture: InputPicture | None, call: PictureCall | None) -> InputPicture | None:
    """Return the picture that a call is given; the default one where it needs one and has none.

    Args:
        picture: What was asked for; ``None`` is nothing.
        call: How the pipeline takes pictures; ``None`` where it takes none.

    Raises:
        ConfigurationError: Something was asked for that the pipeline cannot take.
    """
    if call is None:
        if picture is not None:
            raise _refuse_picture(picture)
        return None
    if picture is None:
        if not call.is_needed:
            return None
        picture = InputPicture(sha256=default_picture().sha256)
    _check_taken(picture, call)
    mask = picture.mask_sha256
    if call.mask is not None and mask is None:
        mask = default_mask().sha256
    return replace(
        picture,
        task=call.task,
        mask_sha256=mask,
        strength=call.strength if picture.strength is None else picture.strength,
        arguments=call.arguments,
    )


def _check_taken(picture: InputPicture, call: PictureCall) -> None:
    if picture.task is not None and picture.task != call.task:
        raise ConfigurationError(
            f"{call.pipeline_class} does another task than was asked for",
            got=f"{TASK} {picture.task}",
            expected=call.task,
            hint=f"{TASK} {call.task}, or another pipeline",
        )
    for setting, given, is_taken in (
        (MASK, picture.mask_sha256, call.mask is not None),
        (STRENGTH, picture.strength, call.takes_strength),
    ):
        if given is not None and not is_taken:
            raise ConfigurationError(
                f"{call.pipeline_class} takes no {setting.key}",
                got=str(setting) if setting is MASK else f"{setting} {given}",
                hint=f"leave {setting} out",
            )


def _refuse_picture(picture: InputPicture) -> ConfigurationError:
    asked = str(INPUT_IMAGE) if picture.task is None else f"{TASK} {picture.task}"
    return ConfigurationError(
        "the pipeline draws from the prompt alone and takes no picture",
        got=asked,
        expected="a pipeline for image-to-image, inpainting, editing or ControlNet",
        hint=f"leave {asked.split()[0]} out, or let the function of the subject return such a "
        "pipeline: its request.load() does under that task",
    )
