"""Measures a case and the plain pipeline in turns: how many times as fast is the case?"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sdperf.ab.sides.sides import SideName
from sdperf.ab.turns.blocks import take_turns
from sdperf.ab.verdict.comparison import SideTurn
from sdperf.errors import UnsupportedError
from sdperf.images.png import decode_png
from sdperf.record.measurement import Gain
from sdperf.record.workload import Variant
from sdperf.run.case import Case, CaseResult
from sdperf.run.pictures.comparing import add_scores
from sdperf.settings import SIZE
from sdperf.stats.paired import choose_block_order, compute_block_contrast
from sdperf.stats.summaries import compute_median_interval

ROUNDS_PER_BLOCK = 2
"""Number of rounds of each side in a block."""


@dataclass
class GainCase:
    """Two resident sides that take turns; they are measured and used like a `Case`.

    Every round of the case has a round of the plain side right before or after it, in the order of
    ABBA and BAAB blocks.

    Attributes:
        case: The case whose gain is asked.
        plain: The same work on the plain pipeline, on its own workers.
    """

    case: Case
    plain: Case
    _taken: list[SideTurn] = field(default_factory=list)

    @property
    def reason_to_skip(self) -> str | None:
        """Say why a prepared case cannot be measured; ``None`` where it can."""
        return self.case.reason_to_skip

    @property
    def first_call_s(self) -> float | None:
        """Seconds of the slowest first call of the case's own workers; ``None`` before them."""
        return self.case.first_call_s

    def prepare(self) -> None:
        """Load both sides and make their first calls, untimed.

        Raises:
            SdperfError: For the reasons of `Case.prepare`.
        """
        self.plain.prepare()
        self.case.prepare()

    def renew(self, warmup: int) -> None:
        """Continue in fresh processes on both sides."""
        self.plain.renew(warmup)
        self.case.renew(warmup)

    def warm_up(self) -> float:
        """Warm both sides up; return the case's seconds."""
        self.plain.warm_up()
        return self.case.warm_up()

    def measure_round(self) -> float:
        """Run one round of each side and return the case's seconds."""
        block, half = divmod(len(self._list_s("B")), ROUNDS_PER_BLOCK)
        order = choose_block_order(block)[2 * half : 2 * half + 2]
        sides = {"A": self.plain.measure_round, "B": self.case.measure_round}
        self._taken += take_turns(order, sides)
        return self._list_s("B")[-1]

    def _list_s(self, side: SideName) -> list[float]:
        """List the seconds of one side's rounds: A is the plain one, B the case."""
        return [one.rounds_s[0] for one in self._taken if one.side == side]

    def collect(self) -> CaseResult:
        """Make the record, with the gain and with scores against the plain side's images.

        Raises:
            UnsupportedError: No size was asked for, and the sides draw different ones.
        """
        result = self.case.collect()
        measurement, pngs = result.measurement, dict(result.pngs)
        plain = self.plain.collect()
        made = {(image.prompt, image.seed): image.sha256 for image in plain.measurement.images}
        partners = [made.get((image.prompt, image.seed)) for image in measurement.images]
        pngs |= {sha256: plain.pngs[sha256] for sha256 in partners if sha256 is not None}
        paired = [
            (image, pngs[sha256])
            for image, sha256 in zip(measurement.images, partners, strict=True)
            if sha256 is not None
        ]
        if self.case.suite.workload.width is None:
            refuse_other_sizes([(other, pngs[image.sha256]) for image, other in paired])
        scored = iter(
            add_scores(
                self.case.suite,
                [image for image, _ in paired],
                [png for _, png in paired],
                [pngs[image.sha256] for image, _ in paired],
                against="plain",
            )
        )
        images = [
            image if sha256 is None else next(scored)
            for image, sha256 in zip(measurement.images, partners, strict=True)
        ]
        gain = compute_gain(
            self.plain.variant,
            self._list_s("A"),
            plain.measurement.images_per_round,
            self._list_s("B"),
            measurement.images_per_round,
        )
        return CaseResult(dataclasses.replace(measurement, images=tuple(images), gain=gain), pngs)


def refuse_other_sizes(pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuse sides that each drew a size of their own, since that is not the same work.

    Args:
        pairs: PNG bytes of the plain side's image and of the case's.

    Raises:
        UnsupportedError: They differ in size.
    """
    for plain, own in pairs:
        theirs, ours = (_name_size(png) for png in (plain, own))
        if ours != theirs:
            raise UnsupportedError(
                f"no gain: no size was asked for, and the case draws {ours}, plain torch {theirs}, "
                "which is not the same work",
                hint=f"{SIZE} {ours}",
            )


def _name_size(png: bytes) -> str:
    height, width = decode_png(png).shape[:2]
    return f"{width}x{height}"


def compute_gain(
    against: Variant,
    plain_rounds_s: Sequence[float],
    plain_images: int,
    rounds_s: Sequence[float],
    images: int,
) -> Gain:
    """Compute the gain of rounds that were measured in blocks.

    Args:
        against: The plain side.
        plain_rounds_s: Its rounds in order, seconds; as many as the case's.
        plain_images: Number of images in each of these rounds.
        rounds_s: The case's rounds in order, seconds. A last round without a partner in its block
            makes a block of one pair.
        images: Images in each of them.
    """
    contrasts = []
    for block, start in enumerate(range(0, len(rounds_s), ROUNDS_PER_BLOCK)):
        rounds = min(ROUNDS_PER_BLOCK, len(rounds_s) - start)
        arms = {
            "A": iter([s / plain_images for s in plain_rounds_s[start : start + rounds]]),
            "B": iter([s / images for s in rounds_s[start : start + rounds]]),
        }
        order = choose_block_order(block)[: 2 * rounds]
        contrasts.append(compute_block_contrast(order, [next(arms[arm]) for arm in order]))
    interval = compute_median_interval(contrasts)
    return Gain(
        against=against,
        ratio=math.exp(-statistics.median(contrasts)),
        lower=math.exp(-interval.upper),
        upper=math.exp(-interval.lower),
        coverage=interval.coverage,
        plain_rounds_s=tuple(plain_rounds_s),
        plain_images_per_round=plain_images,
    )
