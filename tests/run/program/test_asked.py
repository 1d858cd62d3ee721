"""A program in a worker: in processes of its own, gone with them, and without torch."""

import dataclasses
import io
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from sdperf.engines.external.naming import NamedCommand
from sdperf.errors import (
    ConfigurationError,
    EngineError,
    GenerationError,
    UnsupportedError,
    WorkerError,
)
from sdperf.images.input_files import read_picture
from sdperf.models.loader import ResolvedModel
from sdperf.record.execution import Execution, explain_differences
from sdperf.record.measurement import EngineUse
from sdperf.record.workload import (
    DEFAULT_MASK_SHA256,
    DEFAULT_PICTURE_SHA256,
    ImageRequest,
    InputPicture,
    ProgramFacts,
    Variant,
    Workload,
)
from sdperf.run.messages import RoundRequest, WorkerSpec
from sdperf.run.pool import WorkerPool
from sdperf.run.program.asked import (
    AskedProgram,
    find_model_hash,
    list_without_effect,
    plan_execution,
)
from sdperf.run.program.given import check_given, make_given
from sdperf.run.quality.questions import GenerateBatch, SoilMemory
from tests.support import external_toy

TOY = Path(external_toy.__file__)
MODEL = ResolvedModel("hashes", Path("/nowhere"), "0" * 64, "NoPipeline", ())
WORKLOAD = Workload("hashes", ("fox",), 3, None, width=64, height=64)
IMAGES = tuple(ImageRequest("fox", seed) for seed in range(4))


def make_spec(fault="", *more, **changes):
    command = (sys.executable, "-S", str(TOY), "--fault", fault, *more)
    return WorkerSpec(MODEL, "fp32", "auto", engine=NamedCommand("toy", command).engine, **changes)


def ask(images=IMAGES[:1], mode="sync", workload=WORKLOAD):
    return RoundRequest(workload, images, mode, 1)


def start_from(picture):
    return dataclasses.replace(WORKLOAD, picture=picture)


@pytest.fixture
def asked():
    programs = []

    def start(fault="", *more, **changes):
        programs.append(AskedProgram(make_spec(fault, *more, **changes)))
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


HOUSE = InputPicture(DEFAULT_PICTURE_SHA256, strength=0.7, task="image-to-image")
FACTS = ProgramFacts("toy", "1.2.3", "hashes", "cpu", accepts=("picture", "strength"))


def test_a_picture_reaches_a_program_that_takes_one(asked, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    red = read_picture(tmp_path / "red.png", "--sd-input-image")
    program = asked("", "--takes", "picture mask strength", pictures=(red,))
    drawn = [
        program.run_round(ask(workload=start_from(picture))).images[0]
        for picture in (
            None,
            HOUSE,
            dataclasses.replace(HOUSE, sha256=red.sha256),
            dataclasses.replace(HOUSE, mask_sha256=DEFAULT_MASK_SHA256),
            dataclasses.replace(HOUSE, strength=0.9),
            HOUSE,
        )
    ]
    assert drawn[-1].png == drawn[1].png
    assert len({one.png for one in drawn}) == 5
    assert [one.faults for one in drawn] == [()] * 6  # 2 of 3 steps at strength 0.7
    batch = program.ask(GenerateBatch(start_from(HOUSE), IMAGES[:1], 1))
    assert batch[0].png == drawn[1].png


def test_a_picture_comes_in_the_size_that_is_asked_for():
    given = make_given(start_from(dataclasses.replace(HOUSE, mask_sha256=DEFAULT_MASK_SHA256)))
    picture, mask = (Image.open(io.BytesIO(png)) for png in (given.picture, given.mask))
    assert (picture.mode, picture.size) == ("RGB", (64, 64))
    assert (mask.mode, mask.size, mask.getextrema()) == ("L", (64, 64), (0, 255))
    assert (given.strength, given.task) == (0.7, "image-to-image")
    unsized = dataclasses.replace(start_from(HOUSE), width=None, height=None)
    assert Image.open(io.BytesIO(make_given(unsized).picture)).size == (512, 512)
    assert make_given(WORKLOAD) is None
    with pytest.raises(ConfigurationError, match="pixels of the input picture are not here"):
        make_given(start_from(InputPicture("ab" * 32)))


def test_a_picture_or_a_mask_that_a_program_does_not_take_is_refused():
    check_given(FACTS, None)
    check_given(FACTS, HOUSE)
    masked = dataclasses.replace(HOUSE, mask_sha256=DEFAULT_MASK_SHA256)
    with pytest.raises(EngineError, match=r"takes a picture and no mask.*default mask"):
        check_given(FACTS, masked)
    with pytest.raises(EngineError, match=r"draws from the prompt alone.*--sd-engine torch"):
        check_given(dataclasses.replace(FACTS, accepts=("steps",)), masked)


def test_a_strength_that_it_cannot_be_told_is_said():
    told = dataclasses.replace(FACTS, accepts=("picture", "steps", "size"))
    said = list_without_effect(told, start_from(HOUSE), "fp32")
    assert "strength 0.7: toy cannot be told" in said


@pytest.mark.parametrize(("executed", "is_fault"), [(1, True), (2, False), (3, False), (4, True)])
def test_the_steps_that_a_strength_leaves_or_all_of_them_were_asked_for(executed, is_fault):
    found = explain_differences(
        plan_execution(start_from(HOUSE), executed), Execution(steps=executed)
    )
    assert bool(found) == is_fault
    if is_fault:
        assert found[0] == f"asked for 2 steps at strength 0.7, executed {executed}"
