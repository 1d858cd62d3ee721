"""Saves failing images beside their references, for people to look at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf.errors import ImageError
from sdperf.images.png import decode_png, encode_png
from sdperf.record.verdict import Exhibit, Verdict
from sdperf.store.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdperf.judging.session.comparison import ComparedSession
    from sdperf.run.suite import Suite

MOST_EXHIBITS: Final = 64
"""The most pairs of pictures of one run; the worst ones of each case come first."""


def write_evidence(
    folder: Path,
    verdicts: Iterable[tuple[str, Verdict]],
    find: Callable[[str], NDArray[np.uint8] | None],
) -> int:
    """Save every failing image beside its reference.

    Files of an earlier run are removed, so that the folder shows this run only.

    Args:
        folder: The folder to write to.
        verdicts: Cases with their verdicts.
        find: Returns the pixels of an image by its content hash, ``None`` where it is missing.

    Returns:
        How many pictures were written.

    Raises:
        OSError: The folder cannot be written.
    """
    from sdperf.report.pictures.side_by_side import compose_side_by_side

    for old in folder.glob("*.png"):
        old.unlink()
    exhibits: dict[str, tuple[str, Exhibit]] = {}
    for case, verdict in verdicts:
        for exhibit in (one for finding in verdict.findings for one in finding.exhibits):
            exhibits.setdefault(exhibit.file_name, (case, exhibit))
    written = 0
    for name, (case, exhibit) in list(exhibits.items())[:MOST_EXHIBITS]:
        before, after = find(exhibit.against_sha256), find(exhibit.current_sha256)
        if before is None or after is None or before.shape != after.shape:
            continue
        picture = compose_side_by_side(
            before,
            after,
            tile_box=exhibit.tile_box,
            title=f"{case}: {exhibit.prompt!r} (seed {exhibit.seed})",
            caption=exhibit.caption,
            against=exhibit.against,
        )
        write_atomically(folder / name, encode_png(picture))
        written += 1
    return written


@dataclass(frozen=True)
class PixelFinder:
    """Finds an image by its content hash.

    Attributes:
        pngs: PNG bytes of the session's images, by content hash.
        suite: The suite, with the fp32 sync images and those that ship with the model.
        sessions: The compared sessions, oldest first.
    """

    pngs: Mapping[str, bytes]
    suite: Suite
    sessions: Sequence[ComparedSession]

    def find(self, sha256: str) -> NDArray[np.uint8] | None:
        """Return its pixels; ``None`` where it is missing."""
        png = self.pngs.get(sha256) or self.suite.images.find_plain(sha256)
        if png is not None:
            return decode_png(png)
        with contextlib.suppress(ImageError):
            shipped = self.suite.shipped
            found = None if shipped is None else shipped.read(sha256)
            if found is not None:
                return found
        for session in reversed(self.sessions):
            with contextlib.suppress(ImageError):
                return session.images.read(sha256)
        return None
