"""Measures how much legal changes move the images, so that floors are based on evidence.

Each `Setting` generates the same images in another way. Legal changes (another thread count,
another kernel, another place in a batch) must pass every gate, and the worst of them sets the
floors. A ladder of real changes shows the distance between the floors and real damage.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sdperf.device import DeviceKind
from sdperf.errors import GenerationError
from sdperf.images import (
    ComponentDistance,
    compare_images,
    compute_entropy_bits,
    compute_trajectory_distance,
    map_on_all_cores,
)
from sdperf.images.input_files import InputFile
from sdperf.images.png import decode_png
from sdperf.models.loader import ResolvedModel
from sdperf.record.floors import ComponentFloor, PairNoise
from sdperf.record.observation import Rung, RungSort
from sdperf.record.workload import ImageRequest, Precision, Workload
from sdperf.run.messages import WorkerSpec
from sdperf.run.pictures.references import RECORDED_IMAGES, RECORDING_BUDGET_S
from sdperf.run.pool import WorkerPool
from sdperf.run.quality.bench import measure_components
from sdperf.run.quality.questions import (
    GenerateBatch,
    Question,
    RecordImage,
    ReplayRecording,
    UnderKernels,
)
from sdperf.run.quality.recorded import Kernels, Recording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

CHANNELS_LAST: Final = "sdperf.models.subject:channels_last_subject"

OLD_PROCESSOR: Final[Mapping[str, str]] = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
"""Environment variables that make torch, MKL and oneDNN use the kernels of a processor without
vector extensions. This gives the rounding of another machine on this one."""

IDENTICAL_DB: Final = 200.0
"""PSNR in dB that stands for identical outputs where a comparison needs a number."""


@dataclass(frozen=True)
class CalibratedSetting:
    """One way to generate the same images.

    Attributes:
        name: The change in words.
        sort: ``legal`` noise that must pass, or a ``change`` that the ladder places.
        floors_of: Precision whose floors it sets; ``None`` sets no floors.
        precision: Precision of the weights.
        threads: CPU threads; ``None`` is the usual number.
        batch: How many images one call draws.
        kernels: The implementations that torch uses.
        subject: Another way to make the pipeline, ``module:function``.
        environ: Environment variables of the worker, which is then a fresh process.
        fresh: Whether to start a fresh process.
        workload: Fields of the workload to replace.
        seed_shift: A number that is added to every image's seed.
    """

    name: str
    sort: RungSort
    floors_of: Precision | None = None
    precision: Precision = "fp32"
    threads: int | None = None
    batch: int = 1
    kernels: Kernels = "own"
    subject: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    workload: Mapping[str, Any] = field(default_factory=dict)
    seed_shift: int = 0


def list_legal_settings(
    kind: DeviceKind, threads: int, precisions: Sequence[Precision]
) -> list[CalibratedSetting]:
    """List the legal noise that can be made on one machine.

    Args:
        kind: The kind of device.
        threads: The usual number of CPU threads.
        precisions: Precisions, that of the reference first; each other one is legal noise for its
            own floors.
    """
    reference = precisions[0]
    own = CalibratedSetting("the same again", "legal", reference, precision=reference)
    settings = [
        own,
        replace(own, name="a fresh process", fresh=True),
        replace(own, name="plain attention", kernels="plain attention"),
        replace(own, name="batch of 8", batch=8),
    ]
    if kind == "cpu":
        other = 1 if threads > 1 else 2
        settings += [
            replace(own, name="another thread count", threads=other),
            replace(own, name="without oneDNN", kernels="without oneDNN"),
            replace(own, name="an old processor's kernels", environ=OLD_PROCESSOR),
        ]
    return settings + [
        CalibratedSetting(
            precision,
            "legal",
            precision,
            precision=precision,
            subject=CHANNELS_LAST if kind == "cpu" else None,
        )
        for precision in precisions
        if precision != reference
    ]


@dataclass
class Calibrator:
    """Generates the same images under one setting after another.

    Attributes:
        pool: The workers; needs spawned ones.
        model: The model.
        device: A choice of the setting ``device``.
        workload: What is generated.
        requests: The images.
        threads: The usual number of CPU threads.
        reference: Precision of the images that all others are compared with.
        pictures: Pixels that the workload names, beside those that ship.
    """

    pool: WorkerPool
    model: ResolvedModel
    device: str
    workload: Workload
    requests: tuple[ImageRequest, ...]
    threads: int
    reference: Precision = "fp32"
    pictures: tuple[InputFile, ...] = ()
    _plain: tuple[bytes, ...] = ()
    _recordings: tuple[tuple[ImageRequest, Recording], ...] = ()
    _own_process: CalibratedSetting | None = None

    def draw_plain(self) -> tuple[bytes, ...]:
        """Generate the images that all others are compared with, once; PNG bytes."""
        if not self._plain:
            plain = CalibratedSetting("plain", "legal", precision=self.reference)
            self._plain = self._draw(plain)
            self._recordings = tuple(self._record_plain(plain))
        return self._plain

    def _record_plain(self, plain: CalibratedSetting) -> Iterator[tuple[ImageRequest, Recording]]:
        """Record the images that the gates will compare, as many as time allows."""
        started_s = time.monotonic()
        for number, image in enumerate(self.requests[:RECORDED_IMAGES]):
            if number and time.monotonic() - started_s >= RECORDING_BUDGET_S:
                break
            yield image, self._ask(plain, RecordImage(self.workload, image, 0))

    def measure(self, setting: CalibratedSetting) -> Rung:
        """Measure how a setting changes the images and, where it is legal, the components.

        Raises:
            GenerationError: The pipeline failed, or drew NaN or infinity.
            WorkerError: A worker died or hung.
        """
        plain = self.draw_plain()
        changed = self._draw(setting)
        components: tuple[ComponentDistance, ...] = ()
        trajectory_rms = None
        if setting.sort == "legal" and setting.batch == 1:
            seen = [self._inspect(setting, *one) for one in self._recordings]
            components = tuple(distance for distances, _ in seen for distance in distances)
            trajectory_rms = max((rms for _, rms in seen if rms is not None), default=None)
        keys = [self.workload.image_key(request) for request in self.requests]
        return compute_rung(
            setting,
            keys,
            [decode_png(png) for png in plain],
            [decode_png(png) for png in changed],
            components,
            trajectory_rms,
        )

    def _inspect(
        self, setting: CalibratedSetting, image: ImageRequest, recording: Recording
    ) -> tuple[tuple[ComponentDistance, ...], float | None]:
        """Measure component parity and the latents' distance; empty where that is impossible."""
        if not recording.embeds or not recording.latents:
            return (), None
        replayed = self._ask(setting, ReplayRecording(self.workload, image, 0, recording))
        again = self._ask(setting, RecordImage(self.workload, image, 0))
        distance = compute_trajectory_distance(recording.latents, again.latents)
        known = [value for value in distance.relative_rms if value is not None]
        if len(known) < len(distance.relative_rms):
            raise GenerationError(f"{setting.name}: the latents hold NaN or infinity")
        return measure_components(recording, replayed), max(known)

    def _draw(self, setting: CalibratedSetting) -> tuple[bytes, ...]:
        workload = replace(self.workload, **setting.workload)
        requests = [
            replace(request, seed=request.seed + setting.seed_shift) for request in self.requests
        ]
        pngs: list[bytes] = []
        for start in range(0, len(requests), setting.batch):
            part = tuple(requests[start : start + setting.batch])
            delivered = self._ask(setting, GenerateBatch(workload, part, 0))
            if any(image.nonfinite for image in delivered):
                raise GenerationError(f"{setting.name}: an image holds NaN or infinity")
            pngs.extend(image.png for image in delivered)
        return tuple(pngs)

    def _ask(self, setting: CalibratedSetting, question: Question[T]) -> T:
        """Ask a worker of the setting; start a fresh one where its environment needs that."""
        spec = WorkerSpec(
            self.model,
            setting.precision,
            self.device,
            setting.subject,
            pictures=self.pictures,
        )
        own = setting if setting.fresh or setting.environ else None
        if own != self._own_process:
            self.pool.close()
            self._own_process = own
        with _environment(setting.environ):
            self.pool.acquire(spec, 1)
        threads = setting.threads or self.threads
        asked = replace(question, threads=threads)  # type: ignore[type-var]
        if setting.kernels == "own":
            return self.pool.ask(asked)
        return self.pool.ask(UnderKernels(asked, setting.kernels))


def compute_rung(
    setting: CalibratedSetting,
    keys: Sequence[str],
    plain: Sequence[NDArray[np.uint8]],
    changed: Sequence[NDArray[np.uint8]],
    components: Sequence[ComponentDistance] = (),
    trajectory_rms: float | None = None,
) -> Rung:
    """Compare each changed image with its plain one. Pure.

    Args:
        setting: What was changed.
        keys: `Workload.image_key` of each image.
        plain: (H, W, 3) uint8 each.
        changed: The changed images, in the same number and shapes.
        components: Component parity, where measured.
        trajectory_rms: Largest relative RMS of the latents, where measured.
    """
    pairs = list(zip(plain, changed, strict=True))
    largest = max(before.shape[0] * before.shape[1] for before, _ in pairs)
    scores = map_on_all_cores(lambda pair: compare_images(*pair), pairs, pixels=largest)
    known_db = [score.psnr_db for score in scores if score.psnr_db is not None]
    tiles_db = [
        score.worst_tile.psnr_db for score in scores if score.worst_tile.psnr_db is not None
    ]
    drops = [
        compute_entropy_bits(before) - compute_entropy_bits(after)
        for before, after in zip(plain, changed, strict=True)
    ]
    return Rung(
        name=setting.name,
        sort=setting.sort,
        precision=setting.floors_of,
        images=len(scores),
        ssim_mean=round(statistics.fmean(score.ssim for score in scores), 5),
        ssim_min=round(min(score.ssim for score in scores), 5),
        worst_tile_ssim_min=round(min(score.worst_tile.ssim for score in scores), 5),
        psnr_db_mean=round(statistics.fmean(known_db), 1) if known_db else None,
        psnr_db_min=round(min(known_db), 1) if known_db else None,
        worst_tile_psnr_db_min=round(min(tiles_db), 1) if tiles_db else None,
        entropy_drop_bits_max=round(max(drops), 4),
        pairs=tuple(
            PairNoise(
                key,
                round(score.ssim, 5),
                round(score.worst_tile.ssim, 5),
                round(score.ciede2000, 5),
                round(score.worst_tile_ciede2000, 5),
            )
            for key, score in zip(keys, scores, strict=True)
        )
        if setting.sort == "legal"
        else (),
        components=_find_worst_components(components),
        trajectory_rms=None if trajectory_rms is None else round(trajectory_rms, 8),
        ciede2000_max=round(max(score.ciede2000 for score in scores), 5),
        worst_tile_ciede2000_max=round(max(score.worst_tile_ciede2000 for score in scores), 5),
    )


def _find_worst_components(
    distances: Sequence[ComponentDistance],
) -> dict[str, ComponentFloor]:
    """Return each component's lowest agreement, without components that were always identical."""
    worst: dict[str, ComponentFloor] = {}
    for one in distances:
        if one.identical or one.cosine is None or one.psnr_db is None:
            continue
        before = worst.get(one.component, ComponentFloor(IDENTICAL_DB, 1.0))
        worst[one.component] = ComponentFloor(
            psnr_db=round(min(before.psnr_db, one.psnr_db), 1),
            cosine=round(min(before.cosine, one.cosine), 8),
        )
    return worst


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the workers that are started in this block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
