"""Frozen dataclasses to plain JSON values and back, every field checked. Pure."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from sdperf.errors import RecordError

T = TypeVar("T")


def format_record(value: Any) -> dict[str, Any]:
    """Turn a dataclass into plain JSON values (dict, list, str, int, float, bool, None).

    Raises:
        RecordError: A number is NaN or infinite, or a value has no JSON form.
    """
    return dict(_plain(value, type(value).__name__))


def parse_record(kind: type[T], document: object) -> T:
    """Turn plain JSON values into a dataclass, checking every field.

    Unknown keys are ignored, so that a newer writer of the same format version can be read.

    Raises:
        RecordError: A field is missing, of the wrong type, NaN or infinite, or refused by the
            dataclass itself.
    """
    return typing.cast("T", _parsed(kind, document, kind.__name__))


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


def _parsed(kind: Any, value: object, where: str) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _parsed(inner, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parsed_dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _mismatch(where, value, "a list")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise _mismatch(where, value, f"a list of {len(kinds)}")
        return tuple(
            _parsed(inner, item, f"{where}[{index}]")
            for index, (inner, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _mismatch(where, value, "an object")
        return {key: _parsed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise _mismatch(where, value, " or ".join(map(repr, arguments)))
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        number = _finite(value)
        if number is None:
            raise _mismatch(where, value, "a finite number")
        return number
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _mismatch(where, value, kind.__name__)


def _parsed_dataclass(kind: type, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _mismatch(where, value, "an object")
    hints = _find_hints(kind)
    arguments = {}
    for item in dataclasses.fields(kind):
        if item.name in value:
            arguments[item.name] = _parsed(
                hints[item.name], value[item.name], f"{where}.{item.name}"
            )
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise RecordError(f"{where}.{item.name} is missing")
    try:
        return kind(**arguments)
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{where} cannot be used", got=str(error)) from error


@functools.cache
def _find_hints(kind: type) -> Mapping[str, Any]:
    """Resolve a dataclass's annotations; it takes longer than reading the record itself."""
    return typing.get_type_hints(kind)


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _mismatch(where: str, value: object, expected: str) -> RecordError:
    shown = repr(value)
    return RecordError(
        f"{where} cannot be read",
        got=shown if len(shown) <= 60 else f"{shown[:57]}...",
        expected=expected,
    )


def escape_surrogates(value: Any) -> Any:
    """Return plain JSON values in which every lone surrogate of a text is spelt out.

    Bytes of a file's name that are no UTF-8 become such; a JSON file can hold them, a database and
    a page cannot.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [escape_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {escape_surrogates(key): escape_surrogates(one) for key, one in value.items()}
    return value
