"""What the programs that speak over pipes and the command lines have in common."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sdperf.engines.external.protocol import GivenPicture, Loaded, PictureHeader, show_value
from sdperf.errors import ImageError, WorkerError
from sdperf.images.png import decode_png, read_png_frame
from sdperf.record.execution import explain_size
from sdperf.record.workload import ImageRequest, ProgramFacts, Workload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PYTHON: Final = "{python}"
"""Stands in a command for the interpreter that the worker runs in."""

ADAPTERS: Final = "{adapters}"
"""Stands in a command for the folder of the adapters that ship."""


_STRAY_VARIABLES: Final = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True)
class LoadRequest:
    """What a program is told before its first picture.

    Attributes:
        model: As the user named it.
        folder: Where sdperf found it.
        precision: Number format.
        device: A choice of the setting ``device``.
    """

    model: str
    folder: str
    precision: str
    device: str


@dataclass(frozen=True)
class DrawnPicture:
    """One picture of a program.

    Attributes:
        png: The delivered bytes.
        pixels: (H, W, 3) uint8, decoded inside of the timed border.
        latency_s: Seconds from the request to the decoded picture.
        header: What the program said of it.
    """

    png: bytes
    pixels: NDArray[np.uint8]
    latency_s: float
    header: PictureHeader


class Program(Protocol):
    """A program that draws."""

    facts: ProgramFacts

    def load(self, request: LoadRequest, limit_s: float) -> Loaded:
        """Have it load its model.

        Raises:
            WorkerError: It ended, was late, or said what is no reply.
            GenerationError: It says that it cannot.
        """

    def generate(
        self,
        workload: Workload,
        images: Sequence[ImageRequest],
        threads: int,
        at_once: int,
        given: GivenPicture | None = None,
        case: int | None = None,
    ) -> list[DrawnPicture]:
        """Have it draw pictures, in order.

        Args:
            workload: Settings.
            images: What to draw.
            threads: CPU threads that it may use.
            at_once: Requests that are sent before the first one is answered.
            given: What all are drawn from; ``None`` is the prompt alone. It has to be among what
                the program accepts.
            case: Another number says that another case begins; ``None`` is no case.

        Raises:
            WorkerError: It ended, was late, drew something else or what is no picture.
            GenerationError: It says that it cannot; it lives on.
        """

    def read_peak_bytes(self) -> int | None:
        """Return the largest memory of its processes, summed; ``None`` unknown."""

    def read_resident_bytes(self) -> int | None:
        """Return the memory that its processes hold now; ``None`` unknown."""

    def read_cpu_s(self) -> float | None:
        """Return the processor seconds of its processes since they started; ``None`` unknown."""

    def stop(self) -> int | None:
        """Ask it to end; return its exit code, ``None`` where it had to be killed."""

    def kill(self) -> None:
        """End it and all that it started, at once; safe to call twice."""


def fill_own_places(words: Sequence[str]) -> list[str]:
    """Put this interpreter and the folder of our adapters in their places."""
    adapters = str(Path(__file__).with_name("adapters"))
    return [word.replace(PYTHON, sys.executable).replace(ADAPTERS, adapters) for word in words]


def choose_environment(words: Sequence[str], base: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables of a program: without those that bring our packages to another Python.

    Args:
        words: The command as it was named; with ``{python}`` in it, our packages are meant.
        base: Our variables.
    """
    if any(PYTHON in word for word in words):
        return base
    return {name: value for name, value in base.items() if name not in _STRAY_VARIABLES}


class Heard(Protocol):
    """Keeps what a program said last."""

    def summarise(self) -> str:
        """Return it in one line."""


def decode_picture(name: str, png: bytes, workload: Workload, heard: Heard) -> NDArray[np.uint8]:
    """Decode what a program delivered.

    Args:
        name: What the user calls the program.
        png: The bytes.
        workload: May ask for a size.
        heard: What it said.

    Returns:
        (H, W, 3) uint8.

    Raises:
        WorkerError: It is no PNG, has data after its end, or has another size than was asked.
    """
    frame = read_png_frame(png)
    if frame is not None:
        width, height, after_bytes = frame
        _check_size(name, width, height, workload, heard)  # before anything is decoded
        if after_bytes:
            raise describe_breach(
                name,
                "delivered more than a picture",
                f"{after_bytes} bytes after its end",
                "a PNG that ends with IEND",
                heard.summarise(),
            )
    try:
        pixels = decode_png(png)
    except ImageError as error:
        raise describe_breach(
            name,
            "delivered what is no picture",
            f"{len(png)} bytes that begin with {png[:8]!r}",
            "a PNG",
            heard.summarise(),
        ) from error
    height, width = pixels.shape[:2]
    _check_size(name, width, height, workload, heard)
    return pixels


def _check_size(name: str, width: int, height: int, workload: Workload, heard: Heard) -> None:
    other = explain_size(workload.width, workload.height, width, height)
    if other is not None:
        raise describe_breach(
            name,
            "drew a picture of another size",
            other,
            "the size that was asked for",
            heard.summarise(),
        )


def describe_breach(
    name: str, what: str, got: object, expected: str | None = None, last_words: str = ""
) -> WorkerError:
    """Say what a program did against the contract; the next request gets a fresh process."""
    said = f"; it said: {last_words}" if last_words else ""
    return WorkerError(
        f"the external program {name} {what}",
        got=f"{show_value(got)}{said}",
        expected=expected,
        hint="sdperf external check COMMAND tries the program alone",
    )
