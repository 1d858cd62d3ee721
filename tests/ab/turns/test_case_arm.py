"""Another revision's code in a worker of its own, and a case measured a round at a time."""

import subprocess

import pytest

from sdperf.ab.sides.worktree import checked_out, find_repository, map_search_path
from sdperf.ab.turns.blocks import measure_until_decided
from sdperf.ab.turns.case_arm import make_arm
from sdperf.record.workload import Workload
from sdperf.run.pool import WorkerPool
from sdperf.run.suite import Suite
from tests.support.measurements import measurement
from tests.support.tiny_pipelines import resolve, tiny_folder

__all__ = ["tiny_folder"]

SUBJECT = """
import time

def make(request):
    pipeline = request.load()
    decode = pipeline.vae.decode

    def late(*arguments, **named):
        time.sleep({seconds})
        return decode(*arguments, **named)

    pipeline.vae.decode = late
    return pipeline
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    def git(*arguments):
        named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = ["git", "-C", tmp_path, *named, *arguments]
        return subprocess.run(done, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "mine.py").write_text(SUBJECT.format(seconds=0))
    git("add", "mine.py")
    git("commit", "--quiet", "-m", "quick")
    (tmp_path / "mine.py").write_text(SUBJECT.format(seconds=0.5))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path, git("rev-parse", "HEAD")


@pytest.mark.long
def test_the_baselines_code_runs_beside_the_current_one(repository, tiny_folder):
    folder, commit = repository
    workload = Workload(
        model="tiny",
        prompts=("red apple",),
        num_inference_steps=1,
        guidance_scale=1.0,
        height=32,
        width=32,
    )
    model = resolve(tiny_folder("smallest-sd"))
    suite = Suite(workload, model, WorkerPool(), "cpu", "mine:make", 1, guards="off")
    with checked_out(find_repository(folder), commit) as code:
        arms = [
            make_arm(
                suite,
                measurement(workload=workload),
                pool=WorkerPool(timeout_s=120),
                warmup=0,
                subject="mine:make",
                code=searched,
            )
            for searched in (map_search_path([str(folder)], find_repository(folder), code), ())
        ]
        try:
            done = iter([True])
            run = measure_until_decided(
                *arms, limit_log=0.03, alpha=0.01, may_go_on=lambda: next(done, False)
            )
        finally:
            for arm in arms:
                arm.close()
    assert len(run.contrasts) == 1
    assert run.contrasts[0] > 0.3, (
        "the current code sleeps half a second an image, the baseline's does not"
    )
