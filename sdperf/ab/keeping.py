"""Keeps finished cases of a comparison on the disk before the next case begins.

A killed comparison can be continued where it ended, if the user asks for it and nothing differs
that decides its numbers: sides, code, settings, cases, machine, packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import Block, CaseComparison, CompareOptions, SideRecord
from sdperf.errors import ConfigurationError, ImageError, RecordError
from sdperf.git.links import refuse_tracked_links
from sdperf.record.json import (
    check_format_version,
    decode_object,
    format_record,
    parse_record,
)
from sdperf.store.files import write_atomically
from sdperf.store.images import ImageStore
from sdperf.units import format_quantity

FOLDER: Final = Path(".sdperf") / "ab"
FORMAT_VERSION: Final = 1
LARGEST_BYTES: Final = 256 * 2**20
MOST_KEPT: Final = 5
"""The most interrupted comparisons in a folder; the oldest are removed first."""


@dataclass(frozen=True)
class KeptCases:
    """The finished part of a comparison.

    Attributes:
        question: Hash of everything that decides its numbers.
        started_at: When it began, ISO 8601 in UTC.
        cases: Its finished cases, in order.
        control: Blocks of A against itself; empty where there was none.
        format_version: Version of this record.
    """

    question: str
    started_at: str
    cases: tuple[CaseComparison, ...] = ()
    control: tuple[Block, ...] = ()
    format_version: int = FORMAT_VERSION


class Keeper(Protocol):
    """Keeps finished cases, and returns those of an earlier process."""

    def open(
        self,
        sides: tuple[SideRecord, SideRecord],
        options: CompareOptions,
        cases: Sequence[MatrixCase],
        created: str,
    ) -> tuple[KeptCases, Mapping[str, bytes]]:
        """Return the cases of an earlier process that count, with pictures by content hash."""

    def add(
        self, case: CaseComparison, control: tuple[Block, ...], pngs: Mapping[str, bytes]
    ) -> None:
        """Write a finished case to the disk, its pictures first."""

    def close(self) -> None:
        """Remove the kept comparison, since it is done."""


class NoKeeper:
    """Keeps nothing."""

    def open(
        self,
        sides: tuple[SideRecord, SideRecord],  # noqa: ARG002
        options: CompareOptions,  # noqa: ARG002
        cases: Sequence[MatrixCase],  # noqa: ARG002
        created: str,
    ) -> tuple[KeptCases, Mapping[str, bytes]]:
        """Return nothing."""
        return KeptCases("", created), {}

    def add(
        self, case: CaseComparison, control: tuple[Block, ...], pngs: Mapping[str, bytes]
    ) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileKeeper:
    """Keeps the cases of a comparison in ``.sdperf/ab/QUESTION.json`` below a folder.

    Args:
        root: The folder in which the command was called.
        code_sha256: Hash of the code of sides that are not a commit; ``None`` where it is unknown.
        resume: Whether to continue an earlier process.
        tell: Shows a line to the user.
    """

    def __init__(self, root: Path, code_sha256: str | None, *, resume: bool, tell: Any) -> None:
        self._root, self._resume, self._tell = root, resume, tell
        self._code_sha256 = code_sha256
        self._kept = KeptCases("", "")
        self._is_broken = False

    @property
    def _images(self) -> ImageStore:
        return ImageStore(self._path.with_suffix(""))

    @property
    def _path(self) -> Path:
        return self._root / FOLDER / f"{self._kept.question[:16]}.json"

    def open(
        self,
        sides: tuple[SideRecord, SideRecord],
        options: CompareOptions,
        cases: Sequence[MatrixCase],
        created: str,
    ) -> tuple[KeptCases, Mapping[str, bytes]]:
        """Return what an earlier process left, where the user asks for it.

        Raises:
            ConfigurationError: There is nothing to continue, the code is unknown, or a
                repository's link leads to the place.
            RecordError: The kept cases are damaged.
        """
        question = hash_question(sides, options, cases, self._code_sha256)
        self._kept = KeptCases(question, created)
        path = self._path
        refuse_tracked_links("comparison", path, self._images.folder)
        remove_oldest(self._root / FOLDER)
        if not path.exists():
            if self._resume:
                raise ConfigurationError(
                    "no interrupted run of this comparison is here",
                    got=f"none in {self._root / FOLDER} with these sides, settings, cases and code",
                    hint="leave --resume out to measure everything",
                )
            return self._kept, {}
        if self._code_sha256 is None and self._resume:
            raise ConfigurationError(
                "whether the code has changed since cannot be told",
                got="more source files than are looked at, or one that cannot be read",
                hint="compare commits, or leave --resume out",
            )
        left = read_kept(path)
        if not self._resume:
            self._tell(
                f"an interrupted run of this comparison left {len(left.cases)} of {len(cases)} "
                "cases; --resume would go on with it, this one measures everything"
            )
            return self._kept, {}
        pngs: dict[str, bytes] = {}
        whole = []
        for case in left.cases:
            hashes = [one.sha256 for pair in case.images for one in (pair.a, pair.b)]
            with contextlib.suppress(ImageError):  # then the case is measured again
                pngs |= {sha256: self._images.read_png(sha256) for sha256 in hashes}
                whole.append(case)
        self._kept = KeptCases(question, left.started_at, tuple(whole), left.control)
        self._tell(
            f"kept {len(whole)} of {format_quantity(len(cases), 'case')} of the run that began "
            f"{left.started_at}"
        )
        return self._kept, pngs

    def add(
        self, case: CaseComparison, control: tuple[Block, ...], pngs: Mapping[str, bytes]
    ) -> None:
        """Write a finished case to the disk; a full disk does not end the comparison."""
        if self._is_broken:
            return
        kept = self._kept
        self._kept = KeptCases(
            kept.question, kept.started_at, (*kept.cases, case), control or kept.control
        )
        try:
            for png in pngs.values():
                self._images.write(png)
            content = json.dumps(format_record(self._kept), allow_nan=False)
            write_atomically(self._path, content.encode())
        except OSError as error:
            self._is_broken = True
            self._tell(f"finished cases cannot be kept: {error.strerror or error}")

    def close(self) -> None:
        """Remove the kept cases: the comparison is done, and its results are printed."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            shutil.rmtree(self._path.with_suffix(""), ignore_errors=True)
            for folder in (self._root / FOLDER, (self._root / FOLDER).parent):
                folder.rmdir()  # only where nothing else is in it


def remove_oldest(folder: Path, keep: int = MOST_KEPT) -> None:
    """Remove the oldest interrupted comparisons, and pictures without a comparison.

    A folder that cannot be written is left as it is.

    Args:
        folder: Their folder; each has a file and a folder of pictures of the same name.
        keep: How many stay.
    """
    with contextlib.suppress(OSError):
        left = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in left[: max(0, len(left) - keep)]:
            path.unlink()
        kept = {path.stem for path in folder.glob("*.json")}
        for path in folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path)


def read_kept(path: Path) -> KeptCases:
    """Read the kept cases of a comparison.

    Raises:
        RecordError: The file is too large, damaged, or of another version.
    """
    hint = f"rm {path}, and measure everything"
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise RecordError(f"{path} is too large", hint=hint)
        kept = parse_record(KeptCases, decode_object(path.read_bytes(), "it"))
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror, hint=hint) from error
    except RecordError as error:
        raise RecordError(f"{path} is damaged", got=str(error), hint=hint) from error
    check_format_version(str(path), kept.format_version, FORMAT_VERSION, hint)
    return kept


def hash_question(
    sides: tuple[SideRecord, SideRecord],
    options: CompareOptions,
    cases: Sequence[MatrixCase],
    code_sha256: str | None,
) -> str:
    """Hash everything that decides a comparison's numbers and verdicts and is known before it.

    Args:
        sides: The two sides, with packages, model and commit.
        options: How they are compared.
        cases: The measured cases; the error is divided among them.
        code_sha256: Hash of code that is not a commit.
    """
    known = {
        "sides": [format_record(side) for side in sides],
        "options": format_record(options),
        "cases": [format_record(case) for case in cases],
        "code": code_sha256,
        "machine": list(platform.uname()),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
