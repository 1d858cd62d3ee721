"""Writes records as JSON and reads them back with every check: sdperf's only reader of records.

msgspec decodes. It is loaded with the first record that is read, so that a worker, or a session
that reads no record, does not load it. Pure.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

from sdperf.errors import RecordError
from sdperf.record.measurement import FORMAT_VERSION, Measurement
from sdperf.units import shorten

T = TypeVar("T")

UPGRADE: Final = "pip install --upgrade sdperf"
"""The command to type where a newer sdperf wrote a file."""

_WORDS: Final = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "text",
}
"""Words for msgspec's names of JSON values."""

_LONGEST_SHOWN: Final = 60


def decode_object(
    content: bytes | str, what: str, hint: str | None = None, *, refusal: str = "cannot be read"
) -> dict[str, Any]:
    """Decode one JSON object that anybody may have written.

    Args:
        content: The text.
        what: A name of the object, for messages.
        hint: What to do where it is damaged.
        refusal: The message for JSON that is not an object.

    Raises:
        RecordError: It is truncated, nested too deep, names NaN or an infinite number, or is not an
            object.
    """
    try:
        document = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{what} is no JSON: truncated or damaged", got=str(error)[:120], hint=hint
        ) from error
    if not isinstance(document, dict):
        raise RecordError(
            f"{what} {refusal}", got=type(document).__name__, expected="an object", hint=hint
        )
    return document


def check_format_version(what: str, version: object, known: int, hint: str = UPGRADE) -> None:
    """Refuse data in another format version.

    Args:
        what: A name of the data, for the message.
        version: The version as read, which may be any value.
        known: The version that this sdperf reads.
        hint: What to do.

    Raises:
        RecordError: The version is another one, or missing.
    """
    if version != known or type(version) is not int:
        raise RecordError(
            f"{what} was written by another sdperf",
            got="no format version" if version is None else f"format version {_show(version)}",
            expected=f"format version {known}",
            hint=hint,
        )


def parse_record(kind: type[T], document: object) -> T:
    """Turn plain JSON values into a dataclass, checking every field.

    Unknown keys are ignored, so that a newer writer of the same format version can be read.

    Raises:
        RecordError: A field is missing or of the wrong type, a number is NaN, infinite or larger
            than a float can be, or the dataclass itself refuses its values.
    """
    import msgspec

    try:
        _check_numbers(document, kind.__name__)
        return msgspec.convert(document, kind)
    except RecordError:
        raise
    except msgspec.ValidationError as error:
        raise _explain(kind, document, str(error)) from error
    except Exception as error:
        raise RecordError(f"{kind.__name__} cannot be used", got=str(error)) from error


def format_record(value: Any) -> dict[str, Any]:
    """Turn a dataclass into plain JSON values (dict, list, str, int, float, bool, None).

    msgspec would write NaN as null, and null is an unknown number.

    Raises:
        RecordError: A number is NaN or infinite, or a value has no JSON form.
    """
    return dict(_plain(value, type(value).__name__))


def parse_measurement(document: object) -> Measurement:
    """Read a saved record back, checking every field.

    Raises:
        RecordError: A field is missing, of the wrong type, NaN or infinite, or the record is of
            another format version.
    """
    version = document.get("format_version") if isinstance(document, dict) else None
    check_format_version("the record", version, FORMAT_VERSION)
    return parse_record(Measurement, document)


def format_measurement(measurement: Measurement) -> dict[str, Any]:
    """Turn a measurement into the record that is saved, with its derived figures for readers.

    Raises:
        RecordError: A number is NaN or infinite.
    """
    derived = {
        "seconds_per_image": measurement.seconds_per_image,
        "images_per_second": measurement.images_per_second,
        "cores_busy": measurement.cores_busy,
    }
    record = format_record(measurement) | derived
    if measurement.stages is not None:
        record["stages"]["rest_s"] = measurement.stages.rest_s
    if measurement.resources is not None:
        for name in ("gpu_board_energy_per_image_j", "gpu_soc_energy_per_image_j"):
            record["resources"][name] = getattr(measurement.resources, name)
    return record


def escape_surrogates(value: Any) -> Any:
    """Return plain JSON values in which lone surrogates are written as escapes.

    Bytes of a file's name that are not UTF-8 become lone surrogates. A JSON file can hold them; a
    database and a page cannot.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [escape_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(one) for key, one in value.items()}
    return value


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RecordError(f"{where} cannot be stored", got=value, expected="a finite number")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: _plain(getattr(value, item.name), f"{where}.{item.name}")
            for item in dataclasses.fields(value)
        }
    if isinstance(value, tuple | list):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise RecordError(f"{where} cannot be stored", got=type(value).__name__)


def _check_numbers(document: object, where: str) -> None:
    """Refuse numbers that are not finite floats; msgspec 0.19 reads 10**400 as -1.0.

    Raises:
        RecordError: There is such a number.
    """
    if _is_finite(document):
        return
    if isinstance(document, dict):
        for key, inner in document.items():
            _check_numbers(inner, f"{where}.{key}")
    elif isinstance(document, list):
        for index, inner in enumerate(document):
            _check_numbers(inner, f"{where}[{index}]")
    else:
        raise RecordError(
            f"{where} cannot be read", got=_show(document), expected="a finite number"
        )


def _is_finite(value: object) -> bool:
    kind = type(value)
    if kind is float or kind is int:
        return -sys.float_info.max <= value <= sys.float_info.max  # type: ignore[operator]
    if kind is list:
        return all(map(_is_finite, value))  # type: ignore[call-overload]
    if kind is dict:
        return all(map(_is_finite, value.values()))  # type: ignore[attr-defined]
    return True


def _explain(kind: type, document: object, message: str) -> RecordError:
    """Describe in sdperf's words what msgspec refused, and where."""
    complaint, _, place = message.partition(" - at `")
    path = re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place.rpartition("$")[2])
    where = kind.__name__ + place.rpartition("$")[2].rstrip("`")
    missing = re.fullmatch(r"Object missing required field `(\w+)`", complaint)
    if missing:
        return RecordError(f"{where}.{missing[1]} is missing")
    expected = re.match(r"Expected `([^`]+)`(?: of length (\d+))?", complaint)
    if complaint.startswith("Invalid enum value"):
        words = " or ".join(map(repr, _list_choices(kind, path)))
    elif expected is None:
        return RecordError(f"{where} cannot be used", got=complaint)
    elif expected[2]:
        words = f"a list of {expected[2]}"
    else:
        words = " or ".join(_WORDS.get(word, word) for word in expected[1].split(" | "))
    got = complaint.partition("got ")[2].strip("`")
    for name, index in path:
        if index == "...":
            return RecordError(f"{where} cannot be read", got=got, expected=words)
        document = document[name or int(index)]  # type: ignore[index]
    return RecordError(f"{where} cannot be read", got=_show(document), expected=words)


def _list_choices(kind: Any, path: list[tuple[str, str]]) -> tuple[Any, ...]:
    """Return the allowed words of a field that allows only a few words."""
    for name, index in [*path, ("", "")]:
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(one for one in typing.get_args(kind) if one is not type(None))
        if name:
            kind = typing.get_type_hints(kind)[name]
        elif index == "...":
            kind = typing.get_args(kind)[1]
        elif index:
            inner = typing.get_args(kind)
            kind = inner[0] if inner[-1] is Ellipsis else inner[int(index)]
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


def _show(value: object) -> str:
    shown = repr(value)
    return shorten(shown, _LONGEST_SHOWN)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")
