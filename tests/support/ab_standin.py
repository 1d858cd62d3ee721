"""Real processes, worktrees and pipes around a worker without torch.

The stand-in imports the subject as the real worker does. The subject returns a dictionary: the
seconds that a round is said to take, at which round it dies, what it draws. No second is spent.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from sdperf.ab.turns import bench
from sdperf.run.hosts import interpreter
from sdperf.run.hosts.interpreter import staged_harness
from tests.support.forked_interpreters import forking_server

PROGRAM = """
import contextlib, os, pathlib, sys
from sdperf.ab.turns import bench
from sdperf.cli import main
from tests.support.forked_interpreters import follow
follow(os.environ)
os.environ["COMMAND"] = str(os.getpid())  # for its workers
folder = pathlib.Path(os.environ["STAGE"])
bench.staged_harness = lambda: contextlib.nullcontext(folder)
sys.exit(main(sys.argv[1:]))
"""
"""A command in a process of its own; it takes the fixture's `environment` and `channel`."""

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


ramp = Image.linear_gradient("L").resize((64, 64))
turned = ramp.rotate(90)


def draw(seed):
    shifted = [one.point(lambda value, by=seed >> bits: (value + by) % 256) for one, bits in
               ((ramp, 8), (turned, 16), (ramp, 0))]
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


draw(0)  # imports what a picture needs, before a worker is forked
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
        yield folder


@pytest.fixture(scope="session")
def forking_server_of_stage(stage):
    """The server that workers of stand-ins are forked from, and its process id."""
    with forking_server(stage) as (forking, pid):
        yield forking, pid


@pytest.fixture
def staged_once(forking_server_of_stage, monkeypatch):
    """Comparisons of this test start their workers in that folder, forked from the server.

    Afterwards none runs any more.
    """
    forking, pid = forking_server_of_stage
    monkeypatch.setattr(
        bench, "staged_harness", lambda: contextlib.nullcontext(Path(forking.stage))
    )
    monkeypatch.setattr(interpreter, "subprocess", forking.subprocess)
    yield forking
    assert list_children(pid) == []


def list_children(server):
    """Processes that this one or the server started and that still run."""
    import psutil

    found = []
    for child in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.pid != server and "sdperf_remote" in " ".join(child.cmdline()):
                found.append(child)
    return found
