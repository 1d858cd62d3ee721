"""What engines converted, kept below one folder: found by what made it, verified, never half.

An entry is a folder with a manifest that lists every file with its digest. It is built under
another name and takes its own by one rename, so that a build that was killed leaves no entry; it is
verified each time it is opened, and rebuilt where a file is missing, cut short or changed. A lock
per entry keeps two processes from converting the same thing, and one from removing what another
one loads.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from sdperf.engines.conversion import Conversion, KeptEntry, Manifest, OpenedEntry, StoredFile
from sdperf.errors import EngineError, RecordError
from sdperf.folders import (
    list_folder,
    measure_bytes,
    remove_marked,
    remove_unused,
    try_lock,
    wait_for_lock,
)
from sdperf.models.hashing import default_cache_dir
from sdperf.record.json import format_record, parse_record
from sdperf.units import format_bytes

MANIFEST: Final = "sdperf-conversion.json"
_BUILDING: Final = ".building"
_LOCK: Final = ".lock"
_ATTEMPTS: Final = 3
"""Times that an entry is looked for: another process may clean it between two locks."""

_CACHE_HINT: Final = "sdperf engines clean, or point SDPERF_CACHE to another disk"


@dataclass
class EngineCache:
    """Conversions below one folder.

    Attributes:
        folder: Where they lie.
        say: Shows what happens now.
        wait_s: Pauses while another process converts.
        clock: Seconds.
        free_bytes: Tells how much room is left on a folder's disk.
        spent_s: Seconds that went into converting, and into waiting for others to, so far.
    """

    folder: Path
    say: Callable[[str], None] = lambda _: None
    wait_s: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.perf_counter
    free_bytes: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    spent_s: float = 0.0

    @contextlib.contextmanager
    def opened(
        self, conversion: Conversion, convert: Callable[[Path], None], *, needed_bytes: int = 0
    ) -> Iterator[OpenedEntry]:
        """Yield a conversion, making it where there is none that holds.

        Args:
            conversion: What is wanted.
            convert: Writes the files into an empty folder; not called where the entry is there.
            needed_bytes: Room that converting takes, roughly.

        Raises:
            EngineError: There is no room, or the folder cannot be written. What ``convert`` itself
                raises passes through; nothing is left of it then.
        """
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(self._open_lock(conversion.key))
            entry = self._open_locked(lock, conversion, convert, needed_bytes)
            yield entry

    def list_entries(self) -> list[KeptEntry]:
        """Return what the cache holds, oldest first, unfinished ones last."""
        found = []
        for folder in list_folder(self.folder):
            if folder.is_dir():
                with self._open_lock(_key_of(folder)) as lock:
                    is_used = not try_lock(lock, fcntl.LOCK_EX)
                manifest = None if _BUILDING in folder.name else _read_manifest(folder)
                found.append(KeptEntry(folder, manifest, measure_bytes(folder), is_used))
        return sorted(
            found,
            key=lambda one: (
                one.manifest is None,
                one.manifest.converted_at if one.manifest else "",
                one.folder.name,
            ),
        )

    def list_running(self) -> list[str]:
        """Say what processes convert right now, one text each."""
        texts = []
        for path in list_folder(self.folder):
            if path.suffix == _LOCK:
                with contextlib.suppress(OSError), path.open("r", encoding="utf-8") as lock:
                    text = lock.read()  # of a process that was killed where the lock is free
                    if text and not try_lock(lock, fcntl.LOCK_SH):
                        texts.append(text)
        return texts

    def clean(self) -> tuple[int, list[Path]]:
        """Remove every entry that no process uses.

        Returns:
            Bytes that were freed, and the folders that are in use and were kept.

        Raises:
            EngineError: A folder cannot be removed.
        """

        def remove(folder: Path) -> None:
            try:
                remove_marked(folder, MANIFEST)
            except OSError as error:
                raise EngineError(
                    f"the conversion {folder} cannot be removed", got=error.strerror
                ) from error

        folders = [path for path in list_folder(self.folder) if path.is_dir()]
        return remove_unused(folders, lambda path: self._open_lock(_key_of(path)), remove)

    def _open_lock(self, key: str) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / f"{key}{_LOCK}").open("a", encoding="utf-8")
        except OSError as error:
            raise self._unwritable(error) from error

    def _open_locked(
        self,
        lock: IO[str],
        conversion: Conversion,
        convert: Callable[[Path], None],
        needed_bytes: int,
    ) -> OpenedEntry:
        folder = self.folder / conversion.key
        was_found = True
        for _ in range(_ATTEMPTS):
            self._wait(lock, fcntl.LOCK_SH, conversion)
            manifest = self._find_sound(folder, conversion)
            if manifest is not None:
                return OpenedEntry(folder, manifest, was_found)
            fcntl.flock(lock, fcntl.LOCK_UN)
            self._wait(lock, fcntl.LOCK_EX, conversion)
            if self._find_sound(folder, conversion, aloud=False) is None:
                with self._announced(lock, conversion):
                    self._build(folder, conversion, convert, needed_bytes)
                was_found = False
        raise EngineError(
            f"the conversion of the {conversion.part} for {conversion.engine} does not stay",
            got=f"{folder} was gone or changed {_ATTEMPTS} times",
            hint="end what cleans this folder, then sdperf engines clean",
        )

    @contextlib.contextmanager
    def _announced(self, lock: IO[str], conversion: Conversion) -> Iterator[None]:
        """Say what is converted, also in the lock file, where other processes read it."""
        text = f"{conversion.engine}: converting the {conversion.part} of {conversion.model}"
        self.say(text)
        lock.truncate(0)
        lock.write(text)
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)

    def _wait(self, lock: IO[str], operation: int, conversion: Conversion) -> None:
        start_s = self.clock()
        wait_for_lock(
            lock,
            operation,
            on_wait=lambda: self.say(
                f"{conversion.engine}: another process converts the {conversion.part}, waiting"
            ),
            wait_s=self.wait_s,
        )
        self.spent_s += self.clock() - start_s

    def _find_sound(
        self, folder: Path, conversion: Conversion, *, aloud: bool = True
    ) -> Manifest | None:
        """Return the manifest of an entry whose files are all there and unchanged."""
        manifest = _read_manifest(folder)
        if manifest is None or manifest.key != conversion.key:
            return None
        for name, stored in manifest.files.items():
            fault = _find_fault(folder / name, stored)
            if fault is not None and aloud:
                self.say(f"{conversion.engine}: {name} of {folder.name} {fault}: converting again")
            if fault is not None:
                return None
        return manifest

    def _build(
        self,
        folder: Path,
        conversion: Conversion,
        convert: Callable[[Path], None],
        needed_bytes: int,
    ) -> None:
        building = folder.with_name(f"{folder.name}{_BUILDING}")
        try:
            remove_marked(folder, MANIFEST)
            remove_marked(building, MANIFEST)
            free_bytes = self.free_bytes(self.folder)
            if free_bytes < needed_bytes:
                raise EngineError(
                    f"there is no room to convert the {conversion.part} for {conversion.engine}",
                    got=f"{format_bytes(free_bytes)} free at {self.folder}",
                    expected=f"about {format_bytes(needed_bytes)}",
                    hint=_CACHE_HINT,
                )
            building.mkdir()
            start_s = self.clock()
            convert(building)
            conversion_s = self.clock() - start_s
            self.spent_s += conversion_s
            manifest = _describe(building, conversion, conversion_s)
            _write_durably(building / MANIFEST, json.dumps(format_record(manifest), indent=1))
            building.rename(folder)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            with contextlib.suppress(OSError):
                remove_marked(building, MANIFEST)

    def _unwritable(self, error: OSError) -> EngineError:
        return EngineError(
            f"no conversion can be written to {self.folder}",
            got=error.strerror or str(error),
            hint=_CACHE_HINT,
        )


def locate_engine_cache() -> Path:
    """Return the user's folder of conversions.

    Raises:
        EngineError: The user has no home and neither variable is set.
    """
    cache = default_cache_dir()
    if cache is None:
        raise EngineError(
            "there is no folder to keep conversions in", hint="set SDPERF_CACHE or HOME"
        )
    return cache / "engines"


def _key_of(folder: Path) -> str:
    return folder.name.removesuffix(_BUILDING)


def _describe(folder: Path, conversion: Conversion, conversion_s: float) -> Manifest:
    files = {
        path.relative_to(folder).as_posix(): StoredFile(path.stat().st_size, _hash_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Manifest(
        key=conversion.key,
        engine=conversion.engine,
        part=conversion.part,
        model=conversion.model,
        precision=conversion.precision,
        height=conversion.height,
        width=conversion.width,
        options={name: str(value) for name, value in conversion.options.items()},
        versions=conversion.versions,
        files=files,
        conversion_s=conversion_s,
        converted_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _find_fault(path: Path, stored: StoredFile) -> str | None:
    try:
        if path.stat().st_size != stored.size_bytes:
            return "was cut short"
        return None if _hash_file(path) == stored.sha256 else "was changed"
    except OSError:
        return "cannot be read"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        return parse_record(Manifest, json.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError, RecordError):
        return None


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
