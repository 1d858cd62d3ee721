"""The key of a conversion, and the manifest of an entry of the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conversion:
    """The key of a conversion: all that decides its result.

    Attributes:
        engine: Name of the engine.
        part: Name of the pipeline's part.
        model: The model as the user named it; only shown, not part of the hash.
        model_hash: Hash of the model's files.
        precision: Number format of the part that was converted.
        height: Height of an image, pixels.
        width: Width of an image, pixels.
        versions: Versions of everything that decides the result.
        options: Other settings that decide the result.
    """

    engine: str
    part: str
    model: str
    model_hash: str
    precision: str
    height: int
    width: int
    versions: Mapping[str, str]
    options: Mapping[str, str | int | bool]

    @property
    def key(self) -> str:
        """Name of the entry: engine, part and a hash of everything but the model's name."""
        fields = asdict(self)
        del fields["model"]
        canonical = json.dumps(fields, sort_keys=True).encode()
        return f"{self.engine}-{self.part}-{hashlib.sha256(canonical).hexdigest()[:16]}"


@dataclass(frozen=True)
class StoredFile:
    """A file of an entry: its size, and the SHA-256 of its content."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The description of an entry, stored with it.

    Attributes:
        key: The entry's own name.
        engine: Name of the engine.
        part: Name of the pipeline's part.
        model: The model as the user named it.
        precision: Number format.
        height: Height of an image, pixels.
        width: Width of an image, pixels.
        options: Other settings of the conversion, as text.
        versions: Versions of the packages that made it.
        files: Every file by its name below the folder.
        conversion_s: Seconds that converting took.
        converted_at: Time of the conversion, ISO 8601, UTC.
    """

    key: str
    engine: str
    part: str
    model: str
    precision: str
    height: int
    width: int
    options: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, StoredFile]
    conversion_s: float
    converted_at: str

    @property
    def size_bytes(self) -> int:
        """Size of all its files, bytes."""
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True)
class OpenedEntry:
    """A verified entry that no other process removes while it is open.

    Attributes:
        folder: Folder that holds its files.
        manifest: Its manifest.
        was_found: Whether it existed before this call.
    """

    folder: Path
    manifest: Manifest
    was_found: bool


@dataclass(frozen=True)
class KeptEntry:
    """A folder of the cache.

    Attributes:
        folder: Path of the folder.
        manifest: Its manifest; ``None`` where the entry is unfinished or cannot be read.
        size_bytes: Size of its files, bytes.
        is_used: Whether a process has it open.
    """

    folder: Path
    manifest: Manifest | None
    size_bytes: int
    is_used: bool
