"""A command line for each picture: for programs that speak no protocol.

Each picture is a process of its own, so that starting and loading are part of its time. What is put
in the place of a name is one argument, or a part of one: no shell ever reads the prompt.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, cast

from sdperf.engines.external.process import (
    LastWords,
    ProcessKeeper,
    explain_end,
    kill_tree,
    make_mark,
    mark_environment,
    refuse_command,
)
from sdperf.engines.external.program import (
    DrawnPicture,
    LoadRequest,
    decode_picture,
    describe_breach,
)
from sdperf.engines.external.protocol import (
    MOST_PNG_BYTES,
    GivenPicture,
    Loaded,
    PictureHeader,
)
from sdperf.engines.external.reading import read_regular
from sdperf.errors import EngineError
from sdperf.leftovers import temporary_folder
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.record.workload import ImageRequest, ProgramFacts, Workload
from sdperf.settings import GUIDANCE, SIZE, STRENGTH, TASK, TIMEOUT

NAMES: Final = (
    "prompt",
    "negative_prompt",
    "seed",
    "steps",
    "guidance",
    "width",
    "height",
    "threads",
    "model",
    "precision",
    "device",
    "picture",
    "mask",
    "strength",
    "out",
)
"""What can stand in braces in a command line."""

_PLACE: Final = re.compile("{(" + "|".join(NAMES) + ")}")
_TOLD_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "steps": ("steps",),
    "guidance": ("guidance",),
    "negative_prompt": ("negative_prompt",),
    "size": ("width", "height"),
    "precision": ("precision",),
    "threads": ("threads",),
    "model": ("model",),
    "picture": ("picture",),
    "mask": ("mask",),
    "strength": ("strength",),
}
_SAID_BY: Final[Mapping[str, str]] = {
    "width": f"{SIZE} 512x512",
    "height": f"{SIZE} 512x512",
    "guidance": f"{GUIDANCE} 7.5",
    "picture": f"{TASK} image-to-image",
    "mask": f"{TASK} inpaint",
    "strength": f"{STRENGTH} 0.6",
}
"""What is typed where a command line has a place for something that nobody said."""


def list_places(words: Sequence[str]) -> frozenset[str]:
    """List the names in braces of a command line."""
    return frozenset(name for word in words for name in _PLACE.findall(word))


def is_template(words: Sequence[str]) -> bool:
    """Tell whether a command draws one picture and ends: it says where the picture goes."""
    return "out" in list_places(words)


def fill_places(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Put values in the places; what a value holds is never read as a place. Pure."""
    return [_PLACE.sub(lambda found: values[found.group(1)], word) for word in words]


def _write(given: GivenPicture | None, folder: Path) -> dict[str, object]:
    """Put what is drawn from into files; return the values of their places."""
    if given is None:
        return dict.fromkeys(("picture", "mask", "strength"))
    picture, mask = folder / "given.png", None
    picture.write_bytes(given.picture)
    if given.mask is not None:
        mask = folder / "mask.png"
        mask.write_bytes(given.mask)
    return {"picture": picture, "mask": mask, "strength": given.strength}


def _hear_out(heard: LastWords) -> str:
    """Return what a program that has ended said last; what it wrote may still be on its way."""
    heard.finish()
    return heard.summarise()


class TemplateProgram:
    """A program that is started for each picture.

    Args:
        name: What the user calls it, for messages.
        command: Program and arguments, with names in braces.
        limit_s: Time limit of one picture, seconds.
        clock: Times the pictures.
        environment: Variables of the processes; ``None`` are ours.

    Attributes:
        facts: What the command line shows of it.

    Raises:
        EngineError: It has no place for prompt or seed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        limit_s: float,
        clock: Clock = monotonic_clock,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        places = list_places(command)
        missing = [one for one in ("prompt", "seed") if one not in places]
        if missing:
            raise EngineError(
                "the command line has no place for what decides a picture",
                got=" ".join(command),
                expected=", ".join(f"{{{one}}}" for one in ("prompt", "seed", "out")),
            )
        self._name, self._command = name, list(command)
        self._limit_s, self._clock = limit_s, clock
        self._environment = environment
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(temporary_folder("external"))
        self._mark = make_mark()
        self._keeper = ProcessKeeper(self._mark)
        self._request = LoadRequest("", "", "fp32", "auto")
        self._peak_bytes: int | None = None
        self._cpu_s: float | None = None
        self._running: int | None = None
        told = [what for what, names in _TOLD_BY.items() if places.issuperset(names)]
        self.facts = ProgramFacts(
            name=name,
            version="unknown",
            model="unknown",
            device="cpu",
            precisions=("fp32", "fp16", "bf16") if "precision" in told else (),
            accepts=tuple(told),
        )

    def load(self, request: LoadRequest, limit_s: float) -> Loaded:  # noqa: ARG002
        """Note what is told with each picture: nothing stays loaded between two."""
        self._request = request
        return Loaded()

    def generate(
        self,
        workload: Workload,
        images: Sequence[ImageRequest],
        threads: int,
        at_once: int = 1,  # noqa: ARG002
        given: GivenPicture | None = None,
        case: int | None = None,  # noqa: ARG002
    ) -> list[DrawnPicture]:
        """Draw pictures, a process each; see `sdperf.engines.external.program.Program`."""
        return [self._draw(workload, image, threads, given) for image in images]

    def read_peak_bytes(self) -> int | None:
        """Return the largest resident set of a process so far; what it starts counts apart."""
        return self._peak_bytes

    def read_resident_bytes(self) -> int | None:
        """Return nothing: between two pictures no process runs."""
        return None

    def read_cpu_s(self) -> float | None:
        """Return the processor seconds of all processes so far."""
        return self._cpu_s

    def stop(self) -> int | None:
        """Forget the pictures; no process runs."""
        self.kill()
        return 0

    def kill(self) -> None:
        """End the process that draws, if there is one, and remove the pictures."""
        self._keeper.close()
        if self._running is not None:
            kill_tree(self._running, self._mark, is_reaped=False)
        self._stack.close()

    def _draw(
        self,
        workload: Workload,
        image: ImageRequest,
        threads: int,
        given: GivenPicture | None,
    ) -> DrawnPicture:
        folder = Path(tempfile.mkdtemp(dir=self._folder))  # a fresh one: nothing lies at {out} yet
        out = folder / "picture.png"
        try:
            values = self._list_values(workload, image, threads, out)
            words = fill_places(self._command, self._refuse_unsaid(values | _write(given, folder)))
            start_s = self._clock()
            with self._running_to_its_end(words) as heard:
                png = self._read(out, heard)
                pixels = decode_picture(self._name, png, workload, heard)
                latency_s = self._clock() - start_s
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return DrawnPicture(png, pixels, latency_s, PictureHeader(len(png), image.seed))

    def _list_values(
        self, workload: Workload, image: ImageRequest, threads: int, out: Path
    ) -> dict[str, object]:
        return {
            "prompt": image.prompt,
            "negative_prompt": workload.negative_prompt,
            "seed": image.seed,
            "steps": workload.num_inference_steps,
            "guidance": workload.guidance_scale,
            "width": workload.width,
            "height": workload.height,
            "threads": threads,
            "model": self._request.folder or self._request.model,
            "precision": self._request.precision,
            "device": self._request.device,
            "out": out,
        }

    def _refuse_unsaid(self, values: Mapping[str, object]) -> dict[str, str]:
        """Return values as words.

        Raises:
            EngineError: The command line has a place for something that nobody said.
        """
        places = list_places(self._command)
        for name, said_by in _SAID_BY.items():
            if values[name] is None and name in places:
                raise EngineError(
                    f"the command line asks for the {name}, which nobody said", hint=said_by
                )
        return {name: str(value) for name, value in values.items()}

    @contextlib.contextmanager
    def _running_to_its_end(self, words: list[str]) -> Iterator[LastWords]:
        """Run a command and yield when it has ended well; clear up what it left afterwards."""
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=mark_environment(self._environment, self._mark),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise refuse_command(words, error) from error
        self._running = process.pid
        self._keeper.keep(process.pid)
        heard = LastWords(cast("IO[bytes]", process.stderr))
        is_late = threading.Event()

        def end_late() -> None:
            is_late.set()
            kill_tree(process.pid, self._mark, is_reaped=False)

        timer = threading.Timer(self._limit_s, end_late)
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            timer.cancel()
            self._keeper.keep(0)
            self._running = None
            process.returncode = code = os.waitstatus_to_exitcode(status)
            self._count(used)
            self._check_end(code, heard, is_late=is_late.is_set())
            yield heard
        finally:
            timer.cancel()
            kill_tree(process.pid, self._mark, is_reaped=True)
            heard.finish()

    def _count(self, used: resource.struct_rusage) -> None:
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        self._peak_bytes = max(self._peak_bytes or 0, used.ru_maxrss * unit_bytes)
        self._cpu_s = (self._cpu_s or 0.0) + used.ru_utime + used.ru_stime

    def _check_end(self, code: int, heard: LastWords, *, is_late: bool) -> None:
        if is_late:
            raise describe_breach(
                self._name,
                "outlived the time limit of a picture",
                f"no end after {self._limit_s:g} s",
                f"an end in time; {TIMEOUT} sets the limit",
                _hear_out(heard),
            )
        if code:
            raise describe_breach(
                self._name,
                "failed",
                explain_end(code),
                "exit code 0 and a picture",
                _hear_out(heard),
            )

    def _read(self, out: Path, heard: LastWords) -> bytes:
        try:
            png = read_regular(out, MOST_PNG_BYTES + 1)
        except OSError as error:
            raise describe_breach(
                self._name,
                "ended without a picture",
                f"no file at {{out}} ({error.strerror})",
                "a PNG there",
                _hear_out(heard),
            ) from error
        if len(png) > MOST_PNG_BYTES:
            raise describe_breach(
                self._name, "wrote a picture that is too large", f"over {MOST_PNG_BYTES} bytes"
            )
        return png
