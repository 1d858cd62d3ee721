"""What makes a conversion this one and no other, and what an entry of the cache says of itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Conversion:
    """What makes a conversion this one and no other.

    Attributes:
        engine: Whose it is.
        part: The part of the pipeline.
        model: What the user called the model; for people only.
        model_hash: Hash of the model's files.
        precision: Number format of the part that was converted.
        height: Pixels of an image.
        width: Pixels of an image.
        versions: Of everything that decides the result.
        options: What else decides it.
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
    """What an entry says of itself.

    Attributes:
        key: The entry's own name.
        engine: Whose conversion it is.
        part: The part of the pipeline.
        model: What the user called the model.
        precision: Number format.
        height: Pixels.
        width: Pixels.
        options: What else was asked of the conversion, as text.
        versions: Of what made it.
        files: Every file by its name below the folder.
        conversion_s: Seconds that it took.
        converted_at: When, ISO 8601, UTC.
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
        """What its files take together."""
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True)
class OpenedEntry:
    """A verified entry that no other process removes while it is open.

    Attributes:
        folder: Where its files lie.
        manifest: What it says of itself.
        was_found: Whether it was there already.
    """

    folder: Path
    manifest: Manifest
    was_found: bool


@dataclass(frozen=True)
class KeptEntry:
    """A folder of the cache.

    Attributes:
        folder: Where it lies.
        manifest: ``None`` for one that was not finished or cannot be read.
        size_bytes: What it takes.
        is_used: Whether a process has it open.
    """

    folder: Path
    manifest: Manifest | None
    size_bytes: int
    is_used: bool
