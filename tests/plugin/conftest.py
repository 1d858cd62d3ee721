# Imported here, so that pytester's sessions find these very modules and not fresh ones:
# hypothesis' plugin would import and rewrite it at the end of each, two seconds every time.
import importlib
import pkgutil
import sys

import alembic.ddl.postgresql  # loads SQLAlchemy's functions, which warn of a second time
import hypothesis
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import matplotlib.dates
import matplotlib.figure
import msgspec
import PIL.Image
import pytest
import skimage.color
import skimage.metrics
from pytest_benchmark import plugin as host

import sdperf.device
import sdperf.engines.versions
import sdperf.judging
import sdperf.measure.process_tree
import sdperf.models.loader
import sdperf.models.subject
import sdperf.pipeline
import sdperf.plugin
import sdperf.report
import sdperf.run.suite
import sdperf.run.worker.counting
import sdperf.stats
import sdperf.store
from sdperf.cli import main
from sdperf.plugin import journalling
from sdperf.run.case import Case
from sdperf.run.pictures import references
from sdperf.run.profiles import SessionProfiles
from sdperf.run.quality import calibration
from tests.support.inner_sessions import ask_packages_once
from tests.support.scripted import Script
from tests.support.tiny_pipelines import duplicate, tiny_folder
from tests.support.unchanging import ask_once

# The plugin loads these when a session first needs them. A session of pytester forgets them at its
# end, and the next one would compile and import fifty modules again: a tenth of its time.
for package in (
    *(sdperf.device, sdperf.judging, sdperf.pipeline, sdperf.plugin, sdperf.report, sdperf.run),
    *(sdperf.stats, sdperf.store),
):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name != "sdperf.run.hosts.cluster_plugin":  # loads dask
            importlib.import_module(module.name)

PIL.Image.init()

RECORDED_IMAGES = references.RECORDED_IMAGES
LOADED = {}


def load_once(model, *, torch_dtype, device, usual=sdperf.models.loader.load_pipeline):
    """Load the smallest pipeline as it was saved, once, and copy it: a third of the time."""
    if model.folder.name != "smallest-sd" or model.single_file is not None or model.loras:
        return usual(model, torch_dtype=torch_dtype, device=device)
    key = (model.folder, model.model_hash, model.pipeline_class, torch_dtype, str(device))
    if key not in LOADED:
        LOADED[key] = usual(model, torch_dtype=torch_dtype, device=device)
    return duplicate(LOADED[key])


__all__ = ["alembic", "hypothesis", "matplotlib", "msgspec", "skimage", "tiny_folder"]

BENCHMARKS = """
def test_latency(sd_benchmark):
    sd_benchmark.latency()

def test_throughput(sd_benchmark):
    sd_benchmark.throughput()
"""

UNUSED = tuple(
    word
    for name in (
        *("anyio", "cacheprovider", "doctest", "faulthandler", "hypothesispytest", "legacypath"),
        *("logging", "pastebin", "setuponly", "setupplan", "stepwise", "subtests"),
    )
    for word in ("-p", f"no:{name}")
)
"""Plugins that no story needs. A third of what a short session takes is what they set up."""

NO_RERUNS = ("-p", "no:rerunfailures")
"""This plugin starts a server in each session, needed or not."""

NO_WORKERS = ("-p", "no:xdist")
"""This one has many options; one story is about it."""


@pytest.fixture
def bench(pytester, tiny_folder, monkeypatch):
    """Run benchmarks of the tiny SD pipeline inside this process; returns pytester's result.

    ``spawned=True`` lets the session have workers of its own, which a `Script` may replace.
    """
    monkeypatch.syspath_prepend(pytester.path)
    pytester.makepyfile(test_bench=BENCHMARKS)
    pytester.makeini("[pytest]\n")
    defaults = {
        "model": tiny_folder("smallest-sd"),
        "precision": "fp32",
        "mode": "sync",
        "steps": 2,
        "rounds": 2,
        "batch-rounds": 2,
        "images": 2,
        "size": "32x32",
        "guards": "off",
        "history": "off",
    }

    def run(*arguments, in_process=True, spawned=False, **changes):
        options = {name: value for name, value in (defaults | changes).items() if value is not None}
        flags = [f"--sd-{name.replace('_', '-')}={value}" for name, value in options.items()]
        if not any(str(word).startswith("--reruns") for word in arguments):
            flags += NO_RERUNS
        if not any(str(word).startswith("-n") for word in arguments):
            flags += NO_WORKERS
        if in_process:
            own = () if spawned else ("--sd-in-process",)
            return pytester.runpytest_inprocess(*own, *UNUSED, *flags, *arguments)
        return pytester.runpytest_subprocess(*UNUSED, *flags, *arguments)

    return run


@pytest.fixture
def script(monkeypatch):
    """Durations that the test decides; see `Script`."""
    script = Script()
    script.install(monkeypatch)
    return script


@pytest.fixture
def unwatched(monkeypatch):
    """Real rounds, of which no stage is profiled, no limit measured and no resource watched.

    Each of these draws again; a story that is about pictures has no use for them.
    """
    monkeypatch.setattr(Case, "_watch", lambda _: None)
    monkeypatch.setattr(SessionProfiles, "profile", lambda *_: None)
    monkeypatch.setattr(SessionProfiles, "limits", lambda *_: None)


@pytest.fixture
def hosts(script, monkeypatch):
    """The same, with hosts in place of spawned workers, so that two can live at once."""
    script.install_hosts(monkeypatch)
    return script


@pytest.fixture
def accept(pytester, monkeypatch):
    """Run ``sdperf baseline accept`` in the test's folder; returns its exit status."""
    monkeypatch.chdir(pytester.path)

    def accept(*arguments, reason="because"):
        return main(["baseline", "accept", "--reason", reason, *arguments])

    return accept


@pytest.fixture
def every_recording(small_machine, monkeypatch):
    """As many recordings as a user's session makes."""
    for module in (references, calibration):
        monkeypatch.setattr(module, "RECORDED_IMAGES", RECORDED_IMAGES)


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    """One thread and a small matrix product, so that stories stay short on a busy machine."""
    # A subject that is written again within a second is read, and not its older bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sdperf.run.suite, "count_cpu_threads", lambda: 1)
    monkeypatch.setitem(sdperf.run.worker.counting.PEAK_SIZES, "cpu", (64,))
    for module in (references, calibration):  # a second one shows that there are others
        monkeypatch.setattr(module, "RECORDED_IMAGES", 2)
    ask_once(monkeypatch, journalling)
    monkeypatch.setattr(host, "get_cpu_info", dict)  # half a second and more, each time
    monkeypatch.setattr(sdperf.models.subject, "load_pipeline", load_once)
    ask_packages_once(monkeypatch)
