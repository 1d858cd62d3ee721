"""What sdperf and an external program say to each other, version 1. Pure.

Requests and replies are lines of JSON, one object a line. The reply to ``generate`` is followed by
as many bytes of a PNG as it announces. A request that starts from a picture is followed by the
PNGs of the picture and the mask in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from sdperf.device import DeviceKind
from sdperf.errors import EngineError, GenerationError
from sdperf.record.stages import STAGES
from sdperf.record.workload import PRECISIONS, ImageRequest, ProgramFacts, Task, Workload
from sdperf.streams import strip_controls

PROTOCOL: Final = 1
"""Version of what is said."""

MOST_LINE_BYTES: Final = 1 << 20
"""The longest line of a reply: ten thousand step times fit."""

MOST_PNG_BYTES: Final = 1 << 28
"""The largest picture that is read: more than 8192 x 8192 pixels that are not compressed."""

ACCEPTED: Final = (
    "steps",
    "guidance",
    "negative_prompt",
    "size",
    "precision",
    "threads",
    "scheduler",
    "model",
    "picture",
    "mask",
    "strength",
)
"""What a program may be told beside the prompt and the seed."""

_MOST_CHARACTERS: Final = 200
_MOST_NAMES: Final = 64
_MOST_SECONDS: Final = 10**9
_DOCS: Final = "docs/external.md has the replies"


class ReplyError(ValueError):
    """A reply is none: in words, what was got and what was expected."""

    def __init__(self, what: str, got: object, expected: str) -> None:
        super().__init__(what)
        self.what, self.got, self.expected = what, show_value(got), expected


@dataclass(frozen=True)
class Loaded:
    """What a program says once it has loaded its model.

    Attributes:
        seconds: Its own figure; ``None`` unknown.
        model_bytes: What the weights take as it holds them; ``None`` unknown.
    """

    seconds: float | None = None
    model_bytes: int | None = None


@dataclass(frozen=True)
class PictureHeader:
    """What a program says before the bytes of a picture.

    Attributes:
        png_bytes: How many follow.
        seed: The seed that it drew with.
        steps: The steps that it executed; ``None`` where it does not tell.
        seconds: Its own figure of the picture; ``None`` unknown.
        stages: Seconds of its stages by our names.
        unknown_stages: Names of stages that sdperf does not know.
        steps_s: Seconds of each step; empty where unknown.
        peak_bytes: Its own figure of the device's peak memory; ``None`` unknown.
        is_finite: False where it met NaN or infinity.
    """

    png_bytes: int
    seed: int
    steps: int | None = None
    seconds: float | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    unknown_stages: tuple[str, ...] = ()
    steps_s: tuple[float, ...] = ()
    peak_bytes: int | None = None
    is_finite: bool = True


@dataclass(frozen=True)
class GivenPicture:
    """What a picture is drawn from beside its prompt, as it crosses the pipe.

    Attributes:
        picture: A PNG: RGB, 8 bits.
        mask: A PNG of the same size: grey, 8 bits, white where it is drawn again; ``None`` is none.
        strength: Share of the steps that are drawn; ``None`` leaves it to the program.
        task: What is done with it, as in `sdperf.record.workload.Task`.
    """

    picture: bytes = field(repr=False)
    mask: bytes | None = field(default=None, repr=False)
    strength: float | None = None
    task: Task = "image-to-image"

    @property
    def pngs(self) -> bytes:
        """What follows the line of the request."""
        return self.picture + (self.mask or b"")


def show_value(value: object) -> str:
    """Return the beginning of what a program said, in one line for people."""
    try:
        text = str(value)
    except (RecursionError, ValueError):  # too deep; more digits than Python writes
        text = "a value that cannot be shown"
    more = "..." if len(text) > _MOST_CHARACTERS else ""
    return strip_controls(text[:_MOST_CHARACTERS]) + more


def format_request(do: str, **fields: object) -> bytes:
    """Write a request in one line: compact, keys in the order given, text as UTF-8."""
    text = json.dumps({"do": do, **fields}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def format_generate(
    workload: Workload,
    image: ImageRequest,
    threads: int,
    number: int,
    given: GivenPicture | None = None,
    case: int | None = None,
) -> dict[str, object]:
    """Return the fields of a request for one picture, numbers before texts.

    Args:
        workload: Settings.
        image: Prompt and seed.
        threads: CPU threads that the program may use.
        number: Comes back in the reply.
        given: What is drawn from; ``None`` is the prompt alone, and adds no field.
        case: Number of the case; ``None`` is none, and adds no field.
    """
    return {
        "id": number,
        "seed": image.seed,
        "steps": workload.num_inference_steps,
        "guidance": workload.guidance_scale,
        "width": workload.width,
        "height": workload.height,
        "threads": threads,
        **({} if case is None else {"case": case}),
        **({} if given is None else _format_given(given)),
        "scheduler": workload.scheduler,
        "prompt": image.prompt,
        "negative_prompt": workload.negative_prompt,
    }


def _format_given(given: GivenPicture) -> dict[str, object]:
    return {
        "picture_bytes": len(given.picture),
        "mask_bytes": len(given.mask or b""),
        "strength": given.strength,
        "task": given.task,
    }


def parse_reply(line: bytes) -> dict[str, Any]:
    """Read the line of a reply.

    Raises:
        ReplyError: It is no object of JSON with ``ok``: a program printed something else.
        GenerationError: It says that the request failed; the program lives on.
    """
    text = line.decode("utf-8", "replace").strip()
    try:
        reply = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict) or not isinstance(reply.get("ok"), bool):
        raise ReplyError(
            "printed on standard output what is no reply",
            repr(text[:_MOST_CHARACTERS]),
            'a line of JSON with "ok"; what is for people belongs on standard error',
        )
    if not reply["ok"]:
        raise GenerationError(
            "the program could not do what it was asked",
            got=show_value(reply.get("error", "no reason given")),
        )
    return reply


def parse_facts(reply: Mapping[str, Any]) -> ProgramFacts:
    """Read the reply to ``describe``.

    Raises:
        EngineError: It speaks another version, or lacks what has to be known.
    """
    version = reply.get("protocol")
    if type(version) is not int or version != PROTOCOL:
        raise EngineError(
            "the program speaks another version of the protocol",
            got=show_value(version),
            expected=PROTOCOL,
            hint=_DOCS,
        )
    try:
        device = _read_text(reply, "device")
        if device not in get_args(DeviceKind):
            raise ReplyError("device", device, ", ".join(get_args(DeviceKind)))
        return ProgramFacts(
            name=_read_text(reply, "name"),
            version=_read_text(reply, "version"),
            model=_read_text(reply, "model"),
            device=device,
            device_name=_read_text(reply, "device_name", ""),
            precision=_read_text(reply, "precision", "unknown"),
            precisions=_read_names(reply, "precisions", PRECISIONS),
            accepts=_read_names(reply, "accepts", ACCEPTED),
            queue=_read_whole(reply, "queue", 1, least=1, most=1024),
            largest_seed=_read_whole(reply, "largest_seed", 2**63 - 1, least=1, most=2**64),
            versions=_read_versions(reply),
        )
    except ReplyError as error:
        raise EngineError(
            f"the program's description cannot be used: {error.what}",
            got=error.got,
            expected=error.expected,
            hint=_DOCS,
        ) from error


def parse_loaded(reply: Mapping[str, Any]) -> Loaded:
    """Read the reply to ``load``.

    Raises:
        ReplyError: A value is of another kind.
    """
    return Loaded(_read_seconds(reply, "seconds"), _read_bytes(reply, "bytes"))


def parse_picture(reply: Mapping[str, Any], number: int, image: ImageRequest) -> PictureHeader:
    """Read the reply to ``generate``.

    Args:
        reply: The reply.
        number: That of the request.
        image: What was asked for.

    Raises:
        ReplyError: A value is of another kind, or it answers another request.
    """
    told = reply.get("id")
    if type(told) is not int or told != number:
        raise ReplyError("answered another request", told, f"id {number}")
    seed = reply.get("seed")
    if type(seed) is not int or seed != image.seed:
        raise ReplyError("drew with another seed", seed, f"seed {image.seed}")
    size = _read_whole(reply, "bytes", None, least=1, most=MOST_PNG_BYTES)
    stages = _read_table(reply, "stages")
    known = {name: stages[name] for name in STAGES if name in stages}
    steps = reply.get("steps")
    return PictureHeader(
        png_bytes=size,
        seed=seed,
        steps=None if steps is None else _read_whole(reply, "steps", None, least=0, most=10**6),
        seconds=_read_seconds(reply, "seconds"),
        stages={name: _check_seconds(f"stages.{name}", value) for name, value in known.items()},
        unknown_stages=tuple(strip_controls(name[:40]) for name in stages if name not in known)[
            :_MOST_NAMES
        ],
        steps_s=_read_all_seconds(reply, "step_seconds"),
        peak_bytes=_read_bytes(reply, "peak_bytes"),
        is_finite=reply.get("finite", True) is not False,
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _read_text(reply: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = reply.get(key, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise ReplyError(key, value, "a text")
    if len(value) > _MOST_CHARACTERS:
        raise ReplyError(key, f"{len(value)} characters", f"at most {_MOST_CHARACTERS}")
    return strip_controls(value)


def _read_names(reply: Mapping[str, Any], key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    values = reply.get(key, [])
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ReplyError(key, values, "a list of names")
    unknown = [one for one in values if one not in known]
    if unknown:
        raise ReplyError(key, unknown[0][:_MOST_CHARACTERS], ", ".join(known))
    return tuple(one for one in known if one in values)


def _read_versions(reply: Mapping[str, Any]) -> dict[str, str]:
    table = _read_table(reply, "versions")
    if not all(isinstance(one, str) for one in table.values()) or len(table) > _MOST_NAMES:
        raise ReplyError("versions", table, f"at most {_MOST_NAMES} names with texts")
    return {
        strip_controls(name[:40]): strip_controls(version[:40]) for name, version in table.items()
    }


def _read_table(reply: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = reply.get(key, {})
    if not isinstance(table, dict):
        raise ReplyError(key, table, "names with values")
    return table


def _read_whole(
    reply: Mapping[str, Any], key: str, default: int | None, *, least: int, most: int
) -> int:
    value = reply.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise ReplyError(key, value, f"a whole number, {least} to {most}")
    return value


def _read_bytes(reply: Mapping[str, Any], key: str) -> int | None:
    return None if reply.get(key) is None else _read_whole(reply, key, None, least=0, most=2**60)


def _read_seconds(reply: Mapping[str, Any], key: str) -> float | None:
    return None if reply.get(key) is None else _check_seconds(key, reply[key])


def _read_all_seconds(reply: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = reply.get(key, [])
    if not isinstance(values, list):
        raise ReplyError(key, values, "a list of seconds")
    return tuple(_check_seconds(key, value) for value in values)


def _check_seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ReplyError(key, value, "seconds, a number")
    if not 0 <= value <= _MOST_SECONDS:
        raise ReplyError(key, value, f"seconds, 0 to {_MOST_SECONDS}")
    return float(value)
