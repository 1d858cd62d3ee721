"""A rig without workers: seconds and noise by the setting, and whatever may go wrong."""

from functools import cache

import numpy as np

from sdperf.device import DeviceInfo
from sdperf.images.png import encode_png
from sdperf.record.workload import Workload
from sdperf.run.messages import DeliveredImage
from sdperf.tune.question.making_space import Abilities, make_space
from sdperf.tune.question.question import StudyLimits, StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.trial.rig import TrialRound, TrialStart
from tests.support.ab_fakes import picture

WORKLOAD = Workload("embedded", ("red apple", "house"), 20, 3.0)
DEFAULT = TrialSetting(20, 3.0)
ABILITIES = Abilities(
    DeviceInfo("cpu", "", ("fp32",), None, None),
    "sd",
    ("DPMSolverMultistepScheduler", "DDIMScheduler"),
    2,
)


def ask(limits=None, search=None, workload=WORKLOAD, default=DEFAULT, abilities=ABILITIES):
    """A question over a small space: steps alone, unless something else is searched."""
    fixed = {
        "guidance": ["3"],
        "batch": ["1"],
        "scheduler": ["auto"],
        "mode": ["sync"],
        "workers": ["1"],
        "optimisations": ["none"],
    }
    space = make_space(workload, default, abilities, fixed | (search or {}))
    return StudyQuestion(workload, "hash", "cpu", None, default, space, limits or StudyLimits())


@cache
def draw_noisy(seed, noise):
    """Draw a picture once: each round of a setting, and each test, asks for the same ones."""
    return encode_png(picture(seed, noise))


class FakeRig:
    """Draws pictures whose noise grows as steps go.

    Attributes:
        step_s: Seconds of a step.
        noise: Called with a setting; the standard deviation of its images' noise, in levels.
        seconds: Called with a setting; seconds of an image.
        fails: Called with a setting before it draws; raises what is to go wrong.
        start: Called with a setting; what it costs to start it.
        journal: Every load and round.
    """

    pictures = ()

    def __init__(self, *, step_s=0.1, noise=None, seconds=None, fails=None, pixels=None):
        self.noise = noise or (lambda setting: 2.0 * (20 - setting.num_inference_steps))
        self.seconds = seconds or (lambda setting: step_s * setting.num_inference_steps)
        self.fails = fails or (lambda setting: None)
        self.pixels = pixels or (lambda setting: None)
        self.start = lambda setting: TrialStart()
        self.nonfinite = False
        self.memory_bytes = 2**30
        self.journal = []
        self.loaded = None

    def load(self, workload, setting):
        self.journal.append(("load", setting))
        self.loaded = setting
        return self.start(setting)

    def draw(self, workload, setting, images):
        assert self.loaded == setting, "a setting is loaded before it draws"
        self.journal.append(("draw", setting))
        self.fails(setting)
        pixels = self.pixels(setting)
        noise = self.noise(setting)
        drawn = [
            draw_noisy(image.seed, noise) if pixels is None else encode_png(pixels)
            for image in images
        ]
        return TrialRound(
            self.seconds(setting),
            tuple(DeliveredImage(png, 1.0, self.nonfinite) for png in drawn),
            self.memory_bytes,
        )

    def close(self):
        self.journal.append(("close", None))
        self.loaded = None

    def rounds_of(self, setting):
        return self.journal.count(("draw", setting))


FLAT = np.zeros((64, 64, 3), dtype=np.uint8)
