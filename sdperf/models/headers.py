"""Headers of safetensors files, read without torch: is a file whole, and what does it hold?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from sdperf.errors import ModelError
from sdperf.models.layout import parse_json_object

_LENGTH_BYTES: Final = 8
_METADATA: Final = "__metadata__"
_MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the format itself (safetensors, `MAX_HEADER_SIZE`)."""
_LFS_POINTER_START: Final = b"version "
_PLAIN_DTYPES: Final = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Formats in which one value is one weight; smaller integers may hold several each."""
_VALUE_BYTES: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
"""Bytes of one value; formats that are not named here are not checked."""
_INDEX_DTYPES: Final = ("I64", "BOOL")
"""Formats of positions and masks, which are not weights and take almost no memory."""


def check_safetensors(path: Path, where: str) -> int | None:
    """Check that a safetensors file has a sound header and all the bytes it promises.

    It does not prove that the numbers inside are those that were saved.

    Args:
        path: The file.
        where: How messages name the file.

    Returns:
        How many weights the file has; ``None`` where an integer may hold several weights.

    Raises:
        ModelError: The file is truncated, damaged, or a Git LFS pointer.
        OSError: The file cannot be read.
    """
    header, data_bytes = _read_header(path, where)
    spans = {name: _span_of(entry, where) for name, entry in header.items()}
    promised = max((end for _, end in spans.values()), default=0)
    if promised > data_bytes:
        raise _truncated(where, f"{data_bytes} bytes of tensors", f"{promised}")
    if promised < data_bytes:
        raise ModelError(
            f"{where} is damaged: it goes on after its last tensor",
            got=f"{data_bytes} bytes of tensors",
            expected=f"{promised}",
            hint="download the model again",
        )
    for name, (begin, end) in spans.items():
        _check_shape(header[name], end - begin, where)
    if sum(end - begin for begin, end in spans.values()) != data_bytes:
        raise ModelError(
            f"the header of {where} is damaged: its tensors overlap or leave gaps",
            expected=f"{data_bytes} bytes, each of one tensor",
            hint="download the model again",
        )
    return _count_weights(header)


def read_tensor_names(path: Path, where: str) -> frozenset[str]:
    """Return the names of a safetensors file's tensors.

    Args:
        path: The file.
        where: How messages name the file.

    Raises:
        ModelError: The file is truncated, damaged, or a Git LFS pointer.
        OSError: The file cannot be read.
    """
    return frozenset(_read_header(path, where)[0])


def read_tensor_shapes(path: Path, where: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a safetensors file's tensors by name, of those that have one.

    Args:
        path: The file.
        where: How messages name the file.

    Raises:
        ModelError: The file is truncated, damaged, or a Git LFS pointer.
        OSError: The file cannot be read.
    """
    shapes = {}
    for name, entry in _read_header(path, where)[0].items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if isinstance(shape, list) and all(type(size) is int for size in shape):
            shapes[name] = tuple(shape)
    return shapes


def read_metadata(path: Path, where: str) -> dict[str, Any]:
    """Return the metadata of a safetensors file; empty where it has none.

    Args:
        path: The file.
        where: How messages name the file.

    Raises:
        ModelError: The file is truncated, damaged, or a Git LFS pointer.
        OSError: The file cannot be read.
    """
    said = _read_whole_header(path, where)[0].get(_METADATA)
    return said if isinstance(said, dict) else {}


def _read_header(path: Path, where: str) -> tuple[dict[str, Any], int]:
    """Return a file's tensors by name, and the bytes that come after its header."""
    header, data_bytes = _read_whole_header(path, where)
    header.pop(_METADATA, None)
    return header, data_bytes


def _read_whole_header(path: Path, where: str) -> tuple[dict[str, Any], int]:
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES)
        if start == _LFS_POINTER_START:
            raise ModelError(
                f"{where} is a Git LFS pointer, not the weights",
                got=f"{size_bytes} bytes",
                hint="git lfs pull",
            )
        header_bytes = int.from_bytes(start, "little")
        data_bytes = size_bytes - _LENGTH_BYTES - header_bytes
        if len(start) < _LENGTH_BYTES or data_bytes < 0 or header_bytes > _MAX_HEADER_BYTES:
            raise _truncated(where, f"{size_bytes} bytes, not even a header")
        header = parse_json_object(file.read(header_bytes), f"the header of {where}")
    return header, data_bytes


def _check_shape(entry: dict[str, object], size_bytes: int, where: str) -> None:
    """Check that the size of a tensor in bytes fits its shape and format."""
    dtype, shape = entry.get("dtype"), entry.get("shape")
    value_bytes = _VALUE_BYTES.get(dtype) if isinstance(dtype, str) else None
    if value_bytes is None:
        return
    if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape):
        needed = 0 if 0 in shape else value_bytes
        for size in shape:
            needed *= size
            if needed > size_bytes:  # sizes of thousands of digits are not multiplied
                break
        if needed == size_bytes:
            return
    raise ModelError(
        f"the header of {where} is damaged: a tensor's shape does not match its bytes",
        got=f"{ascii(entry)[:80]}",
        expected=f"a shape of {size_bytes} bytes",
        hint="download the model again",
    )


def _count_weights(header: dict[str, object]) -> int | None:
    count = 0
    for entry in header.values():
        if not isinstance(entry, dict):
            return None
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if dtype in _INDEX_DTYPES:
            continue
        if dtype not in _PLAIN_DTYPES or not isinstance(shape, list):
            return None
        if not all(type(size) is int and size >= 0 for size in shape):
            return None
        count += math.prod(shape)
    return count


def _span_of(entry: object, where: str) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and [type(offset) for offset in offsets] == [int, int]:
        begin, end = offsets
        if 0 <= begin <= end:
            return int(begin), int(end)
    raise ModelError(
        f"the header of {where} is damaged",
        got=ascii(entry)[:80],
        expected="tensors with data_offsets [begin, end]",
        hint="download the model again",
    )


def _truncated(where: str, got: str, expected: str | None = None) -> ModelError:
    return ModelError(
        f"{where} is truncated", got=got, expected=expected, hint="download the model again"
    )
