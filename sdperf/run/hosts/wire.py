"""Values and frames between two interpreters: JSON with the type of each value beside it.

It is not pickle, since the two may run different versions of Python and of sdperf. Fields that one
side does not know are left out, and missing fields take their defaults. Only dataclasses and errors
of sdperf are ever made. The module imports no sdperf at module level: a copy of this file runs
beside the sdperf of any revision.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import json
import struct
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final

LARGEST_FRAME_BYTES: Final = 1 << 30

_TYPE: Final = "$"
_LENGTH: Final = struct.Struct(">Q")


class WireError(Exception):
    """A value or frame that one side cannot read or write."""


def encode(value: Any) -> Any:
    """Turn a value into JSON values.

    Raises:
        WireError: The value has a type that cannot be sent.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, list):
        return {_TYPE: "list", "items": [encode(item) for item in value]}
    if isinstance(value, dict):
        return {_TYPE: "dict", "items": [[encode(k), encode(v)] for k, v in value.items()]}
    if isinstance(value, bytes):
        return {_TYPE: "bytes", "base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, PurePath):
        return {_TYPE: "path", "text": str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            item.name: encode(getattr(value, item.name))
            for item in dataclasses.fields(value)
            if item.init
        }
        return {_TYPE: "record", "class": _name_of(type(value)), "fields": fields}
    if isinstance(value, Exception) and hasattr(value, "what"):
        parts = {name: getattr(value, name, None) for name in ("what", "got", "expected", "hint")}
        texts = {name: None if part is None else str(part) for name, part in parts.items()}
        return {_TYPE: "error", "class": _name_of(type(value)), **texts}
    raise WireError(f"a {type(value).__name__} does not travel between interpreters")


def decode(value: Any) -> Any:
    """Turn the result of `encode` back into the value.

    Raises:
        WireError: It is malformed, names an unknown class, or lacks fields that the class needs.
    """
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    try:
        return _DECODERS[value[_TYPE]](value)
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"{type(error).__name__}: {error}") from error


def write_frame(stream: BinaryIO, message: dict[str, Any]) -> None:
    """Write one message: its length, then JSON.

    Raises:
        OSError: The other side has ended.
    """
    payload = json.dumps(message).encode()
    stream.write(_LENGTH.pack(len(payload)) + payload)
    stream.flush()


def read_frame(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one message; ``None`` where the other side has closed its end.

    Raises:
        WireError: The received bytes are not a frame.
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > LARGEST_FRAME_BYTES:
        raise WireError(f"a frame of {length} bytes")
    payload = stream.read(length)
    if len(payload) < length:
        return None
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise WireError(f"a frame that is no JSON: {error}") from error
    if not isinstance(message, dict):
        raise WireError("a frame that is no message")
    return message


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _find_class(name: str) -> type:
    module_name, _, qualified = name.partition(":")
    if module_name != "sdperf" and not module_name.startswith("sdperf."):
        raise WireError(f"{name} is no class of sdperf")
    found = getattr(importlib.import_module(module_name), qualified, None)
    if not isinstance(found, type):
        raise WireError(f"there is no {name} here")
    return found


def _decode_record(value: dict[str, Any]) -> Any:
    kind = _find_class(value["class"])
    if not dataclasses.is_dataclass(kind):
        raise WireError(f"{value['class']} is no record")
    known = {item.name for item in dataclasses.fields(kind) if item.init}
    known |= getattr(kind, "OLDER_FIELDS", frozenset())
    values = {name: decode(item) for name, item in value["fields"].items() if name in known}
    return getattr(kind, "from_wire", kind)(**values)


def _decode_error(value: dict[str, Any]) -> Exception:
    kind: Any = _find_class(value["class"])
    if not issubclass(kind, Exception):
        raise WireError(f"{value['class']} is no error")
    parts = {name: value.get(name) for name in ("got", "expected", "hint")}
    error: Exception = kind(value["what"], **parts)
    return error


_DECODERS: Final = {
    "list": lambda value: [decode(item) for item in value["items"]],
    "dict": lambda value: {decode(k): decode(v) for k, v in value["items"]},
    "bytes": lambda value: base64.b64decode(value["base64"], validate=True),
    "path": lambda value: Path(value["text"]),
    "record": _decode_record,
    "error": _decode_error,
}
