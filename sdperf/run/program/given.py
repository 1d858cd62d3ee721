"""What a program of the user's draws from beside the prompt: refused, or made ready to be sent."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdperf.engines.external.protocol import GivenPicture
from sdperf.errors import EngineError
from sdperf.images.input_files import InputFile, find_pixels, fit_picture
from sdperf.record.workload import InputPicture, ProgramFacts, Workload
from sdperf.settings import ENGINE, INPUT_IMAGE

if TYPE_CHECKING:
    from PIL import Image


def check_given(facts: ProgramFacts, picture: InputPicture | None) -> None:
    """Refuse a picture or a mask that a program does not take.

    Args:
        facts: What the program says of itself.
        picture: What is asked for; ``None`` is the prompt alone.

    Raises:
        EngineError: The program would draw something else than was asked for.
    """
    if picture is None:
        return
    asked = {"picture": True, "mask": picture.mask_sha256 is not None}
    missing = [name for name, is_asked in asked.items() if is_asked and name not in facts.accepts]
    if missing:
        alone = missing[0] == "picture"
        does = "draws from the prompt alone" if alone else "takes a picture and no mask"
        raise EngineError(
            f"the program {facts.name} {does}",
            got=picture.describe(),
            expected=f'"{missing[0]}" in what it accepts (docs/external.md)',
            hint=f"leave the {missing[0]} out, or {ENGINE} torch",
        )


def make_given(workload: Workload, files: Sequence[InputFile] = ()) -> GivenPicture | None:
    """Make ready what a program is sent; ``None`` where the prompt is all.

    Args:
        workload: What is asked for. Its picture is scaled and cut to its size; where it names
            none, the picture keeps its own and the mask takes that of the picture.
        files: Pixels beside those that ship.

    Raises:
        ConfigurationError: The pixels are missing.
    """
    asked = workload.picture
    if asked is None:
        return None
    names = [name for name in (asked.sha256, asked.mask_sha256) if name is not None]
    found = [find_pixels(name, files, str(INPUT_IMAGE)).decode() for name in names]
    width, height = workload.width or found[0].width, workload.height or found[0].height
    picture, *mask = (_encode(fit_picture(one, width, height)) for one in found)
    return GivenPicture(
        picture=picture,
        mask=mask[0] if mask else None,
        strength=asked.strength,
        task=asked.task or "image-to-image",
    )


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
