"""A program in a worker: in processes of its own, gone with them, and without torch."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sdperf.engines.external.naming import NamedCommand
from sdperf.errors import EngineError, GenerationError, UnsupportedError, WorkerError
from sdperf.models.loader import ResolvedModel
from sdperf.record.measurement import EngineUse
from sdperf.record.workload import ImageRequest, ProgramFacts, Variant, Workload
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from sdperf.run.program.asked import AskedProgram, find_model_hash, list_without_effect
from sdperf.run.quality.questions import GenerateBatch, SoilMemory
from tests.support import external_toy

TOY = Path(external_toy.__file__)
MODEL = ResolvedModel("hashes", Path("/nowhere"), "0" * 64, "NoPipeline", ())
WORKLOAD = Workload("hashes", ("fox",), 3, None, width=64, height=64)
IMAGES = tuple(ImageRequest("fox", seed) for seed in range(4))


def make_spec(fault="", **changes):
    command = (sys.executable, "-S", str(TOY), "--fault", fault)
    return WorkerSpec(MODEL, "fp32", "auto", engine=NamedCommand("toy", command).engine, **changes)


def ask(images=IMAGES[:1], mode="sync"):
    return RoundRequest(WORKLOAD, images, mode, 1)


@pytest.fixture
def asked():
    programs = []

    def start(fault=""):
        programs.append(AskedProgram(make_spec(fault)))
        return programs[-1]

    yield start
    for program in programs:
        program.free()


def list_toys():
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if one.is_running() and str(TOY) in one.cmdline()]


def test_two_workers_have_a_program_each_and_both_end_with_the_pool():
    pool = WorkerPool(timeout_s=60.0)
    try:
        workers = pool.acquire(make_spec(), 2)
        assert len(list_toys()) == 2
        assert not any(worker.report.is_the_models for worker in workers)
        done = pool.run_round([ask(IMAGES[:2]), ask(IMAGES[2:])])
        assert len({image.png for one in done.results for image in one.images}) == 4
        assert 0 < done.own_s < done.duration_s
        assert all(one.memory.peak_rss_bytes > 2**20 for one in done.results)
        pool.acquire(make_spec("crash"), 1)
        with pytest.raises(WorkerError, match="exit code 7"):
            pool.run_round([ask()])
        assert list_toys() == []
        pool.acquire(make_spec(), 1)  # the next case gets a fresh process
        assert pool.run_round([ask()]).results[0].images[0].faults == ()
    finally:
        pool.close()
    assert list_toys() == []


def test_a_worker_of_a_program_loads_no_torch():
    script = (
        "import sys\n"
        "from tests.run.program.test_asked import AskedProgram, make_spec, ask\n"
        "for name in [one for one in sys.modules if one.split('.')[0] == 'torch']:\n"
        "    sys.exit(f'the test itself loads {name}')\n"
        "program = AskedProgram(make_spec())\n"
        "program.run_round(ask())\n"
        "program.free()\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0


def test_a_batch_is_drawn_in_another_order_and_comes_in_its_own(asked):
    program, ahead = asked(), asked("queue")
    alone = [program.run_round(ask((one,))).images[0].png for one in IMAGES]
    for each in (program, ahead):
        batch = each.ask(GenerateBatch(WORKLOAD, IMAGES, 1))
        assert [one.png for one in batch] == alone


def test_async_sends_requests_ahead_or_is_refused(asked):
    ahead = asked("queue").run_round(ask(IMAGES, "async"))
    assert len({one.png for one in ahead.images}) == 4
    assert ahead.own_s is None
    with pytest.raises(GenerationError, match="one request at a time"):
        asked().run_round(ask(IMAGES, "async"))


def test_stages_are_those_that_it_tells(asked):
    stages = asked().profile(ask())
    assert set(stages.by_name()) == {"denoise", "decode_latents"}
    assert len(stages.steps_s) == 3
    assert sum(stages.by_name().values()) < stages.total_s


def test_what_is_about_its_inside_cannot_be_asked(asked):
    with pytest.raises(UnsupportedError, match="neither components nor latents"):
        asked().ask(SoilMemory(WORKLOAD, IMAGES[:1], 1))


def test_a_precision_that_it_cannot_run_is_refused(monkeypatch):
    monkeypatch.setattr(
        "sdperf.engines.external.piped.parse_facts",
        lambda _: ProgramFacts("toy", "1", "hashes", "cpu", precisions=("fp16",)),
    )
    with pytest.raises(EngineError, match=r"cannot run fp32; expected: fp16; do: --sd-precision"):
        AskedProgram(make_spec())


def test_what_it_cannot_be_told_is_said():
    facts = ProgramFacts("toy", "1", "hashes", "cpu", precision="q8", accepts=("steps",))
    workload = dataclasses.replace(WORKLOAD, negative_prompt="bad", guidance_scale=3.0)
    assert list_without_effect(facts, workload, "fp32") == (
        "guidance 3: toy cannot be told",
        "the negative prompt: toy cannot be told",
        "the size of 64 x 64 px: toy cannot be told",
        "fp32: toy runs in its own number format, q8",
        "the model: toy draws with its own, hashes",
    )


def test_its_hash_is_of_its_model_and_not_of_its_version():
    def hash_of(**changes):
        facts = dataclasses.replace(ProgramFacts("toy", "1", "hashes", "cpu"), **changes)
        return find_model_hash("0" * 64, EngineUse("external:toy=x", "1", "cpu", program=facts))

    assert hash_of() == hash_of(version="2") != hash_of(model="other")
    assert find_model_hash("0" * 64, None) == "0" * 64


def test_a_case_keeps_its_name_when_the_command_moves():
    one, other = Variant(engine="external:toy=/a/x"), Variant(engine="external:toy=/b/x")
    assert one.id == other.id == "fp32-sync-1w-external-toy"
    assert one != other
    assert one.identity == other.identity
