"""Real processes, worktrees and pipes around a worker without torch.

The stand-in imports the subject as the real worker does. The subject returns a dictionary: the
seconds that a round is said to take, at which round it dies, what it draws. No second is spent.
"""

import contextlib
import os
import subprocess
import sys
import tempfile

import pytest

from sdperf.ab.turns import bench
from sdperf.run.hosts.interpreter import staged_harness

WORKER = """
import io, os, sys

from PIL import Image

from sdperf.device import DeviceInfo
from sdperf.record.measurement import MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.models.subject import load_subject
from sdperf.run.messages import DeliveredImage, RoundResult, WorkerReport

DEVICE = DeviceInfo("cpu", "", ("fp32",), None, None)
behaviour = {"rounds": 0, "seconds": 1.0}


def load(spec):
    if spec.subject is not None:
        load_subject(spec.subject, spec.code)
        module, _, function = spec.subject.partition(":")
        behaviour.update(getattr(sys.modules[module], function)())
    behaviour["seconds"] *= {"fp32": 1.0, "fp16": 0.5, "bf16": 2.0}[spec.precision]
    return WorkerReport(os.getpid(), DEVICE, 0.1, "StandInPipeline", True)


def draw(seed):
    ramp = Image.linear_gradient("L").resize((64, 64))
    shifted = [one.point(lambda value, by=seed >> bits: (value + by) % 256) for one, bits in
               ((ramp, 8), (ramp.rotate(90), 16), (ramp, 0))]
    bands = tuple(shifted)  # a seed that was never asked for gives a picture that never was
    picture = Image.new("RGB", (64, 64)) if behaviour.get("flat") else Image.merge("RGB", bands)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def run_round(request):
    behaviour["rounds"] += 1
    if behaviour["rounds"] == behaviour.get("dies_at"):
        print("the last words of the side", file=sys.stderr, flush=True)
        os._exit(9)
    seconds = behaviour["seconds"] * (1 + 0.0001 * (behaviour["rounds"] % 3))
    images = (DeliveredImage(draw(image.seed), seconds, False) for image in request.images)
    return RoundResult(0.0, seconds, tuple(images), MemoryUsage(2**27))


def profile_round(request):
    seconds = behaviour["seconds"]
    return StageTimes(seconds, 0.0, 0.1 * seconds, 0.8 * seconds, 0.1 * seconds)
"""


@contextlib.contextmanager
def staged_stand_in():
    """What `staged_harness` makes, with the stand-in for its worker."""
    with staged_harness() as folder:
        (folder / "sdperf" / "run" / "worker" / "__init__.py").write_text(WORKER)
        (folder / "sdperf" / "images" / "__init__.py").write_text("")  # spares each worker numpy
        yield folder


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    """A folder of `staged_stand_in`, made and compiled once; its users only read it."""
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patched:  # while the folder is made, not longer
            patched.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("stage")))
            folder = stack.enter_context(staged_stand_in())
        plain = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
        subprocess.run(
            [sys.executable, "-P", "-c", "import sdperf_remote.wire, sdperf.run.worker"],
            env=plain | {"PYTHONPATH": str(folder)},
            check=True,
        )
        assert list(folder.glob("sdperf/run/worker/__pycache__/*.pyc"))
        yield folder


@pytest.fixture
def staged_once(stage, monkeypatch):
    """Comparisons of this test start their workers in that folder."""
    monkeypatch.setattr(bench, "staged_harness", lambda: contextlib.nullcontext(stage))


def list_children():
    """Processes that this one started and that still run."""
    import psutil

    return [
        child
        for child in psutil.Process(os.getpid()).children(recursive=True)
        if "sdperf_remote" in " ".join(child.cmdline())
    ]
