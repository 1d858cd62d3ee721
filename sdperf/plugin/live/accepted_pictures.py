"""Accepted pictures of a program of the user's, which its pictures of now are compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdperf.record.observation import ACCEPTED, ImageParity
from sdperf.store.baselines import BaselineStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdperf.plugin.live.session import LiveSession


@dataclass(frozen=True)
class AcceptedPicture:
    """A picture of an accepted session.

    Attributes:
        sha256: Content hash of its PNG.
        entropy_bits: Its entropy, bits.
        read: Returns its pixels, (H, W, 3) uint8.
    """

    sha256: str
    entropy_bits: float
    read: Callable[[], NDArray[np.uint8]]


def find_accepted_pictures(live: LiveSession, case: str) -> dict[str, AcceptedPicture]:
    """Find the pictures that a case of the quality suite left in the accepted sessions.

    Args:
        live: The session; its machine's accepted ones are read, the latest picture counts.
        case: Its test id, which has the program's name.

    Returns:
        By their keys: prompt, seed, settings and model.

    Raises:
        RecordError: An accepted session is damaged.
    """
    fingerprint = live.suites.own().environment().fingerprint()
    found = {}
    for session in BaselineStore(live.settings.baselines).load(fingerprint):
        for one in session.run.quality:
            seen = one.seen
            if one.case == case and isinstance(seen, ImageParity) and seen.against == ACCEPTED:
                for image, key in zip(seen.images, seen.keys, strict=True):
                    read = _reading(session.images.read, image.sha256)
                    found[key] = AcceptedPicture(image.sha256, image.entropy_bits, read)
    return found


def _reading(
    read: Callable[[str], NDArray[np.uint8]], sha256: str
) -> Callable[[], NDArray[np.uint8]]:
    return lambda: read(sha256)
