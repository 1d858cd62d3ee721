"""A program that speaks the protocol over its standard input and output."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sdperf.engines.external.process import (
    EXIT_WAIT_S,
    GoneError,
    LateError,
    ProgramProcess,
    TooLongError,
    explain_end,
)
from sdperf.engines.external.program import (
    DrawnPicture,
    LoadRequest,
    decode_picture,
    describe_breach,
)
from sdperf.engines.external.protocol import (
    MOST_LINE_BYTES,
    MOST_PNG_BYTES,
    PROTOCOL,
    GivenPicture,
    Loaded,
    PictureHeader,
    ReplyError,
    format_generate,
    format_request,
    parse_facts,
    parse_loaded,
    parse_picture,
    parse_reply,
)
from sdperf.errors import GenerationError
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.record.workload import ImageRequest, ProgramFacts, Workload
from sdperf.settings import TIMEOUT

T = TypeVar("T")

DESCRIBE_LIMIT_S: Final = 120.0
"""Seconds that a program has to start and describe itself: it may import a large framework."""


class PipedProgram:
    """A started program, asked over pipes.

    Args:
        name: What the user calls it, for messages.
        command: Program and arguments.
        limit_s: Time limit of one picture, seconds.
        clock: Times the pictures.
        environment: Variables of the process; ``None`` are ours.

    Attributes:
        facts: What it says of itself.

    Raises:
        EngineError: It cannot be started, or speaks another version.
        WorkerError: It ended, was late, or said what is no reply.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        limit_s: float,
        clock: Clock = monotonic_clock,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name, self._limit_s, self._clock = name, limit_s, clock
        self._process = ProgramProcess(command, environment)
        self._made = 0
        try:
            reply = self._ask("describe", DESCRIBE_LIMIT_S, protocol=PROTOCOL)
            self.facts: ProgramFacts = parse_facts(reply)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def load(self, request: LoadRequest, limit_s: float) -> Loaded:
        """Have it load its model; see `sdperf.engines.external.program.Program`."""
        reply = self._ask(
            "load",
            limit_s,
            device=request.device,
            precision=request.precision,
            folder=request.folder,
            model=request.model,
        )
        return self._parse(lambda: parse_loaded(reply))

    def generate(
        self,
        workload: Workload,
        images: Sequence[ImageRequest],
        threads: int,
        at_once: int = 1,
        given: GivenPicture | None = None,
        case: int | None = None,
    ) -> list[DrawnPicture]:
        """Have it draw pictures, in order; see `sdperf.engines.external.program.Program`."""
        for image in images:
            if image.seed > self.facts.largest_seed:
                raise GenerationError(
                    f"the external program {self._name} takes no such seed",
                    got=image.seed,
                    expected=f"at most {self.facts.largest_seed}",
                )
        pngs = b"" if given is None else given.pngs
        waiting: deque[tuple[ImageRequest, int, float]] = deque()
        drawn: list[DrawnPicture] = []
        failures: list[GenerationError] = []
        left = deque(images)
        while left or waiting:
            while left and len(waiting) < at_once and not failures:
                image, number = left.popleft(), self._number()
                fields = format_generate(workload, image, threads, number, given, case)
                message = format_request("generate", **fields)
                self._refuse_stray(is_idle=not waiting)
                waiting.append((image, number, self._clock()))
                self._write("a picture", message + pngs, self._limit_s)
            if not waiting:
                break
            image, number, start_s = waiting.popleft()
            try:
                drawn.append(self._receive(workload, image, number, start_s))
            except GenerationError as error:  # the answers that are under way are read all the same
                failures.append(error)
        if failures:
            raise failures[0]
        return drawn

    def read_peak_bytes(self) -> int | None:
        """Return the largest memory of its processes, summed; ``None`` unknown."""
        from sdperf.measure.process_tree import read_tree_peak_bytes

        return read_tree_peak_bytes(self.pid)

    def read_resident_bytes(self) -> int | None:
        """Return the memory that its processes hold now; ``None`` unknown."""
        from sdperf.measure.process_tree import read_tree_resident_bytes

        return read_tree_resident_bytes(self.pid)

    def read_cpu_s(self) -> float | None:
        """Return the processor seconds of its processes since they started; ``None`` unknown."""
        from sdperf.measure.process_tree import read_tree_cpu_s

        return read_tree_cpu_s(self.pid)

    def last_words(self) -> str:
        """Return the end of what it printed on standard error, in one line."""
        return self._process.last_words()

    def stop(self) -> int | None:
        """Ask it to end; return its exit code, ``None`` where it had to be killed."""
        self._process.note_helpers()
        with contextlib.suppress(Exception):
            self._ask("stop", EXIT_WAIT_S)
        self._process.close_input()
        code = self._process.wait(EXIT_WAIT_S)
        self.kill()
        return code

    def count_leftovers(self) -> int:
        """Count processes of it beside it; after its end, those that outlived it."""
        return self._process.count_leftovers()

    def end(self) -> int | None:
        """Ask it to end and wait, without killing anything; ``None``: it goes on."""
        self._process.note_helpers()
        self._ask("stop", EXIT_WAIT_S)
        self._process.close_input()
        return self._process.wait(EXIT_WAIT_S)

    def kill(self) -> None:
        """End it and all that it started, at once; safe to call twice."""
        self._process.kill()

    def _number(self) -> int:
        self._made += 1
        return self._made

    def _receive(
        self, workload: Workload, image: ImageRequest, number: int, start_s: float
    ) -> DrawnPicture:
        header, png = self._read_picture(image, number)
        pixels = decode_picture(self._name, png, workload, self._process.words)
        return DrawnPicture(png, pixels, self._clock() - start_s, header)

    def _read_picture(self, image: ImageRequest, number: int) -> tuple[PictureHeader, bytes]:
        reply = self._read_reply("a picture", self._limit_s)
        header = self._parse(lambda: parse_picture(reply, number, image))
        with self._explained("a picture's bytes", self._limit_s) as deadline_s:
            return header, self._process.read_exactly(header.png_bytes, deadline_s)

    def _ask(self, do: str, limit_s: float, **fields: object) -> dict[str, Any]:
        self._refuse_stray(is_idle=True)
        self._write(do, format_request(do, **fields), limit_s)
        return self._read_reply(do, limit_s)

    def _write(self, doing: str, message: bytes, limit_s: float) -> None:
        with self._explained(doing, limit_s) as deadline_s:
            self._process.write(message, deadline_s, MOST_LINE_BYTES + MOST_PNG_BYTES)

    def _read_reply(self, doing: str, limit_s: float) -> dict[str, Any]:
        with self._explained(doing, limit_s) as deadline_s:
            line = self._process.read_line(MOST_LINE_BYTES, deadline_s)
        return self._parse(lambda: parse_reply(line))

    def _refuse_stray(self, *, is_idle: bool) -> None:
        """Refuse what the program printed while nothing was asked of it."""
        stray = self._process.read_stray() if is_idle else b""
        if stray:
            raise describe_breach(
                self._name,
                "printed on standard output what nobody asked for",
                repr(stray[:80].decode("utf-8", "replace")),
                "replies only; what is for people belongs on standard error",
                self._process.last_words(),
            )

    def _parse(self, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except ReplyError as error:
            raise describe_breach(
                self._name,
                error.what if " " in error.what else f"gave {error.what} a value of another kind",
                error.got,
                error.expected,
                self._process.last_words(),
            ) from error

    @contextlib.contextmanager
    def _explained(self, doing: str, limit_s: float) -> Iterator[float]:
        """Yield a deadline; say in one message what keeps the program from meeting it."""
        try:
            yield time.monotonic() + limit_s
        except GoneError as error:
            code = self._process.wait(1.0)
            raise describe_breach(
                self._name,
                f"ended during {doing}" if code is not None else f"closed its output in {doing}",
                explain_end(code),
                last_words=self._process.last_words(),
            ) from error
        except LateError as error:
            raise describe_breach(
                self._name,
                f"outlived the time limit of {doing}",
                f"no answer after {limit_s:g} s",
                f"an answer in time; {TIMEOUT} sets the limit",
                self._process.last_words(),
            ) from error
        except TooLongError as error:
            raise describe_breach(
                self._name,
                "printed a line on standard output that no reply is as long as",
                f"more than {MOST_LINE_BYTES} bytes",
                "a line of JSON",
                self._process.last_words(),
            ) from error
