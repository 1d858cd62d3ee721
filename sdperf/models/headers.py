"""Headers of safetensors files, read without torch: is a file whole?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sdperf.errors import ModelError
from sdperf.models.layout import parse_json_object

_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 100_000_000
"""The limit of the format itself (safetensors, `MAX_HEADER_SIZE`)."""
_LFS_POINTER_START: Final = b"version "


def check_safetensors(path: Path, where: str) -> None:
    """Check that a safetensors file has a sound header and all the bytes it promises.

    It does not prove that the numbers inside are those that were saved.

    Args:
        path: The file.
        where: How messages name the file.

    Raises:
        ModelError: The file is truncated, damaged, or a Git LFS pointer.
        OSError: The file cannot be read.
    """
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
    header.pop("__metadata__", None)
    promised = max((_end_of(entry, where) for entry in header.values()), default=0)
    if promised > data_bytes:
        raise _truncated(where, f"{data_bytes} bytes of tensors", f"{promised}")
    if promised < data_bytes:
        raise ModelError(
            f"{where} is damaged: it goes on after its last tensor",
            got=f"{data_bytes} bytes of tensors",
            expected=f"{promised}",
            hint="download the model again",
        )


def _end_of(entry: object, where: str) -> int:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and [type(offset) for offset in offsets] == [int, int]:
        begin, end = offsets
        if 0 <= begin <= end:
            return int(end)
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
