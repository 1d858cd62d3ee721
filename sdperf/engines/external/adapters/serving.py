"""The protocol's side of an adapter. Needs Python 3.10 and its standard library only."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PROTOCOL = 1


class GoneForGoodError(Exception):
    """What the program needs is gone: it ends, and sdperf starts a fresh one for the next case."""


@dataclass
class AdapterPicture:
    """A picture of an adapter.

    Attributes:
        picture: A `PIL.Image.Image`, or the bytes of a PNG.
        steps: Steps that were executed; ``None`` where it does not know.
        stages: Seconds of stages by sdperf's names; delivery is added here.
        step_seconds: Seconds of each step.
        peak_bytes: The device's peak memory.
        is_finite: False where NaN or infinity was met.
    """

    picture: Any
    steps: int | None = None
    stages: Mapping[str, float] = field(default_factory=dict)
    step_seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    is_finite: bool = True


def serve(
    describe: Callable[[], Mapping[str, Any]],
    load: Callable[[Mapping[str, Any]], int | None],
    draw: Callable[[Mapping[str, Any]], AdapterPicture],
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until there are no more; what libraries print goes to standard error.

    Args:
        describe: Returns the description, without ``protocol``.
        load: Loads the model; returns the bytes of its weights, where it knows them.
        draw: Draws a picture.
        stop: Clears up.
    """
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        for line in sys.stdin.buffer:
            asked = json.loads(line)
            for name in ("picture", "mask"):  # PNGs that follow the line; None: not sent
                asked[name] = sys.stdin.buffer.read(asked.get(f"{name}_bytes") or 0) or None
            try:
                reply, png = _answer(asked, describe, load, draw)
            except GoneForGoodError as error:
                raise SystemExit(str(error)) from error  # on standard error, with exit status 1
            except Exception as error:  # noqa: BLE001  # the next request is answered all the same
                reply, png = {"ok": False, "error": f"{type(error).__name__}: {error}"[:500]}, b""
            if png:
                reply["bytes"] = len(png)
            replies.write(json.dumps({"ok": True, **reply}).encode() + b"\n" + png)
            replies.flush()
            if asked["do"] == "stop":
                break
    finally:
        stop()


def _answer(
    asked: Mapping[str, Any],
    describe: Callable[[], Mapping[str, Any]],
    load: Callable[[Mapping[str, Any]], int | None],
    draw: Callable[[Mapping[str, Any]], AdapterPicture],
) -> tuple[dict[str, Any], bytes]:
    began_s = time.monotonic()
    if asked["do"] == "describe":
        return {"protocol": PROTOCOL, **describe()}, b""
    if asked["do"] == "load":
        weights = load(asked)
        return {"seconds": time.monotonic() - began_s, "bytes": weights}, b""
    if asked["do"] != "generate":
        return {}, b""
    drawn = draw(asked)
    drawn_s = time.monotonic()
    png = drawn.picture if isinstance(drawn.picture, bytes) else _encode(drawn.picture)
    ended_s = time.monotonic()
    reply = {
        "id": asked["id"],
        "seed": asked["seed"],
        "steps": drawn.steps,
        "seconds": ended_s - began_s,
        "stages": {**drawn.stages, "deliver": ended_s - drawn_s} if drawn.stages else {},
        "step_seconds": drawn.step_seconds,
        "peak_bytes": drawn.peak_bytes,
        "finite": drawn.is_finite,
    }
    return reply, png


def _encode(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
