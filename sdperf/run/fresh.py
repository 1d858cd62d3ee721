"""Rounds on requests that were never made before, which no cache of earlier ones can answer."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Final

from sdperf.images.png import compute_png_sha256
from sdperf.record.measurement import FreshRounds
from sdperf.record.workload import ImageRequest
from sdperf.run.pool import PoolRound

MOST_FRESH: Final = 3
"""Number of rounds of fresh requests; the quickest counts, so that a disturbed one does no harm."""

_SEED_BITS: Final = 31


def make_fresh_request(like: ImageRequest) -> ImageRequest:
    """Make a request that was never made before: other words of equal length, another seed.

    Its letters are those of the known prompt in another order, so that both requests cost the same.
    Its text, its embedding and its noise are all new.

    Args:
        like: A request of the workload.
    """
    letters = list(like.prompt)
    random.Random(secrets.randbits(64)).shuffle(letters)
    return ImageRequest("".join(letters), secrets.randbits(_SEED_BITS))


def draw_fresh(
    shares: Sequence[Sequence[ImageRequest]],
    run: Callable[[list[tuple[ImageRequest, ...]]], PoolRound],
    known_s: float,
    known: Collection[str],
) -> FreshRounds:
    """Run rounds of fresh requests, at most three, until one is as quick as known requests.

    After each that is not, a round of known requests is run once more, and the slowest of these
    counts: it tells a cache from a machine that has become busy since the timed rounds.

    Args:
        shares: The images of each worker in an ordinary round.
        run: Runs a round of such shares.
        known_s: Median seconds of the rounds of known requests.
        known: Content hashes of all pictures that were drawn before.
    """
    rounds_s: list[float] = []
    again_s: float | None = None
    repeated = 0
    for _ in range(MOST_FRESH):
        asked = [tuple(make_fresh_request(image) for image in share) for share in shares]
        done = run(asked)
        rounds_s.append(done.duration_s)
        repeated += sum(
            compute_png_sha256(image.png) in known
            for result in done.results
            for image in result.images
        )
        seen = FreshRounds(tuple(rounds_s), repeated, again_s)
        if repeated or not seen.is_doubtful(max(known_s, again_s or 0.0)):
            return seen
        again_s = max(again_s or 0.0, run([tuple(share) for share in shares]).duration_s)
    return FreshRounds(tuple(rounds_s), repeated, again_s)
