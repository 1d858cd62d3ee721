"""Just enough of Mach-O and of ARM64 to see which texts and functions a function refers to.

Sources: Apple's <mach-o/loader.h> and <mach-o/nlist.h>; the ADRP, ADR and ADD encodings of the
Arm Architecture Reference Manual.
"""

from __future__ import annotations

import bisect
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

_MAGIC_64: Final = 0xFEEDFACF
_SYMTAB: Final = 0x2
_SEGMENT_64: Final = 0x19
_HEADER_BYTES: Final = 32
_SEGMENT_BYTES: Final = 72
_SECTION_BYTES: Final = 80
_SYMBOL_BYTES: Final = 16
_STABS: Final = 0xE0


@dataclass(frozen=True)
class Section:
    address: int
    size_bytes: int
    offset: int

    def holds(self, address: int) -> bool:
        return self.address <= address < self.address + self.size_bytes


@dataclass(frozen=True)
class Reference:
    """What a function loads the address of: a text, or another function by its symbol."""

    text: str | None
    symbol: str | None


class Library:
    """A 64-bit ARM library of macOS, mapped into memory."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, commands = struct.unpack_from("<I12xI", self._bytes)
        if magic != _MAGIC_64:
            raise ValueError(f"{path} is not a 64-bit Mach-O file")
        self._sections: dict[str, Section] = {}
        self._symbol_table = (0, 0, 0, 0)
        position = _HEADER_BYTES
        for _ in range(commands):
            kind, size_bytes = struct.unpack_from("<2I", self._bytes, position)
            if kind == _SEGMENT_64:
                self._read_sections(position)
            elif kind == _SYMTAB:
                self._symbol_table = struct.unpack_from("<4I", self._bytes, position + 8)
            position += size_bytes

    @cached_property
    def symbols(self) -> dict[int, str]:
        """Mangled names by address; one of several at the same address."""
        table, count, texts, _ = self._symbol_table
        found: dict[int, str] = {}
        for index in range(count):
            at = table + _SYMBOL_BYTES * index
            name_at, kind, section, address = struct.unpack_from("<IBB2xQ", self._bytes, at)
            if section and not kind & _STABS:
                found.setdefault(address, self._text_at(texts + name_at))
        return found

    @cached_property
    def _starts(self) -> list[int]:
        return sorted(self.symbols)

    def references(self, function: int) -> Iterator[Reference]:
        """List what a function loads the addresses of, in the order of its code."""
        code, texts = self._sections["__TEXT,__text"], self._sections["__TEXT,__cstring"]
        after = bisect.bisect_right(self._starts, function)
        end = self._starts[after] if after < len(self._starts) else code.address + code.size_bytes
        for address in self._loaded_addresses(code, function, end):
            if texts.holds(address):
                yield Reference(self._text_at(texts.offset + address - texts.address), None)
            elif code.holds(address) and address in self.symbols:
                yield Reference(None, self.symbols[address])

    def has_text(self, text: str) -> bool:
        """Tell whether a text is among the library's constants, as a whole or within one."""
        section = self._sections["__TEXT,__cstring"]
        return (
            self._bytes.find(text.encode(), section.offset, section.offset + section.size_bytes)
            >= 0
        )

    def _loaded_addresses(self, code: Section, start: int, end: int) -> Iterator[int]:
        pages: dict[int, int] = {}
        for counter in range(start, end, 4):
            at = code.offset + counter - code.address
            (word,) = struct.unpack_from("<I", self._bytes, at)
            if word & 0x9F000000 == 0x90000000:  # ADRP
                pages[word & 31] = (counter & ~0xFFF) + (_relative(word) << 12)
            elif word & 0x9F000000 == 0x10000000:  # ADR
                yield counter + _relative(word)
            elif word & 0xFF800000 == 0x91000000 and (word >> 5 & 31) in pages:  # ADD, immediate
                shift = 12 if word >> 22 & 1 else 0
                yield pages[word >> 5 & 31] + ((word >> 10 & 0xFFF) << shift)

    def _read_sections(self, position: int) -> None:
        (count,) = struct.unpack_from("<I", self._bytes, position + 64)
        for index in range(count):
            at = position + _SEGMENT_BYTES + _SECTION_BYTES * index
            name, segment, address, size_bytes, offset = struct.unpack_from(
                "<16s16s2QI", self._bytes, at
            )
            key = f"{segment.rstrip(bytes(1)).decode()},{name.rstrip(bytes(1)).decode()}"
            self._sections[key] = Section(address, size_bytes, offset)

    def _text_at(self, offset: int) -> str:
        return self._bytes[offset : self._bytes.find(b"\0", offset)].decode("utf-8", "replace")


def _relative(word: int) -> int:
    distance = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
    return distance - ((distance >> 20 & 1) << 21)
