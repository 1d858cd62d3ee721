"""A bench without workers: sides that take so many seconds and draw what they are told."""

import itertools

import numpy as np

from sdperf.ab.sides.interpreters import Interpreter
from sdperf.ab.sides.sides import Side
from sdperf.ab.verdict.comparison import LifeStart
from sdperf.device import DeviceInfo
from sdperf.errors import UnfitError
from sdperf.images.png import compute_png_sha256, encode_png
from sdperf.models.loader import ResolvedModel
from sdperf.record.measurement import MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.record.usage import ResourceUsage
from sdperf.record.workload import Workload
from sdperf.run.messages import DeliveredImage
from tests.support.measurements import ENVIRONMENT

WORKLOAD = Workload("embedded", ("red apple", "house"), 4, 3.0)
GIB = 2**30


def picture(seed=0, noise=0.0):
    """A 64 x 64 gradient, told apart by its seed, with so much noise upon it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64]
    pixels = np.stack([x * 2.0, y * 2.0, (x + y) + seed % 32], axis=-1)
    return np.clip(pixels + random.normal(0, noise or 1e-9, pixels.shape), 0, 255).astype(np.uint8)


class FakeArm:
    """A side at work; every call is written into the bench's journal."""

    def __init__(self, bench, side, name, behaviour):
        self.bench, self.side, self.name = bench, side, name
        self.behaviour = behaviour
        self.lives = ()
        self.starts = []
        self.own_s = []
        self.loaded = False
        self.timed = False
        self.make_room = lambda: None

    @property
    def drawn(self):
        """What rounds drew; nothing unless the arm is told to be ``exact``."""
        if not self.behaviour.get("exact", False):
            return {}
        return {one: frozenset({compute_png_sha256(image.png)}) for one, image in self.draw()[:1]}

    def before_load(self, make_room):
        self.make_room = make_room

    def describe_device(self):
        return self.bench.device

    def describe_program(self):
        return self.behaviour.get("program")

    def load(self):
        if not self.loaded:
            self.make_room()
            self.bench.note(self, "load")
            self.loaded = True
            self.lives += (MemoryUsage(peak_rss_bytes=self.behaviour.get("rss", GIB)),)
            self.starts.append(LifeStart(self.behaviour.get("load", 0.5), 1.5))

    def renew(self):
        if self.timed:
            self.close()

    def measure_s(self):
        self.load()
        self.timed = True
        self.bench.note(self, "time")
        seconds = self.behaviour.get("seconds", 1.0)
        seconds = next(seconds) if hasattr(seconds, "__next__") else seconds
        self.bench.now_s += seconds
        if "own" in self.behaviour:
            self.own_s.append(self.behaviour["own"])
        return seconds

    def draw(self):
        self.load()
        self.bench.note(self, "draw")
        noise = self.behaviour.get("noise", 0.0)
        pixels = self.behaviour.get("pixels")
        images = (self.side.workload.image(i) for i in range(len(self.side.workload.prompts)))
        return [
            (
                image,
                DeliveredImage(
                    encode_png(picture(image.seed, noise) if pixels is None else pixels),
                    self.behaviour.get("latency", 2.0),
                    nonfinite=self.behaviour.get("nonfinite", False),
                    faults=self.behaviour.get("faults", ()),
                ),
            )
            for image in images
        ]

    def draw_fresh(self, known_s):
        return self.behaviour.get("fresh")

    def profile(self):
        self.load()
        self.bench.note(self, "profile")
        stages = self.behaviour.get("stages", (0.1, 0.8, 0.1))
        if stages is None:
            return None
        encode_s, denoise_s, decode_s = stages
        return StageTimes(sum(stages), 0.0, encode_s, denoise_s, decode_s)

    def watch(self):
        self.bench.note(self, "watch")
        joules = self.behaviour.get("joules")
        return ResourceUsage(1.0, images=1, gpu_board_energy_j=joules)

    def list_modules(self):
        return self.behaviour.get("modules", {})

    def locate_subject(self):
        return self.behaviour.get("subject_file")

    def close(self):
        if self.loaded:
            self.bench.note(self, "close")
        self.loaded = self.timed = False


class FakeWatch:
    def __init__(self, reasons):
        self.reasons = iter(reasons)

    def begin(self):
        pass

    def end(self):
        return next(self.reasons, None)


class FakeBench:
    """Behaviours of the two sides: ``seconds``, ``noise``, ``rss``, ``stages``, ``joules``, ..."""

    def __init__(
        self, a=None, b=None, *, disturbed=(), ram_bytes=64 * GIB, unfit=False, floors=None
    ):
        self.behaviours = {"a": a or {}, "b": b or {}}
        self.second_a = None
        self.disturbed, self.ram_bytes, self.unfit = disturbed, ram_bytes, unfit
        self.floors = floors or {}
        self.journal = []
        self.now_s = 0.0
        self.made = itertools.count(1)
        self.device = DeviceInfo("cpu", "", ("fp32",), None, None)

    def note(self, arm, what):
        self.journal.append(f"{arm.name} {what}")

    def clock(self):
        return self.now_s

    def look_at_rest(self, policy):
        self.journal.append("at rest")

    def look(self, kind, policy):
        if self.unfit:
            raise UnfitError("this machine is not fit to be measured on")
        return ()

    def watch_blocks(self, kind, policy):
        return FakeWatch(self.disturbed)

    def draw_lot(self):
        return True

    def make_arm(self, side, case, *, warmup, timeout_s):
        number = next(self.made)
        behaviour = self.behaviours[side.label]
        if number == 3 and self.second_a is not None:
            behaviour = self.second_a
        return FakeArm(self, side, f"{side.label}{number}", behaviour)

    def fit(self, workers, device):
        return sum(one.peak_rss_bytes for one in workers) <= self.ram_bytes

    def resolve_model(self, side):
        name = side.workload.model
        return ResolvedModel(name, "/models", f"hash of {name}", "StableDiffusionPipeline", ())

    def examine(self, side):
        return Interpreter("/python", "3.11.7", {"torch": "2.13.0"})

    def find_floors(self, side, precision, kind):
        return self.floors.get(precision)

    def environment(self, device):
        return ENVIRONMENT


def side(label, **fields):
    return Side(label, fields.pop("workload", WORKLOAD), **fields)
