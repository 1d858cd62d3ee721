"""``sdperf tune`` from the command line, with a fake rig and a fake bench."""

import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from sdperf import outputs
from sdperf.ab.turns import bench as ab_bench
from sdperf.cli import main
from sdperf.models.loader import ResolvedModel
from sdperf.record.workload import Workload
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.pool import WorkerPool
from sdperf.store.profile import read_profile
from sdperf.tune.summary import read_summary
from sdperf.tune.trial import rig as tune_rig
from sdperf.tune.trial.rig import LiveRig
from tests.cli.test_lost_output import sdperf as end_output
from tests.support.ab_fakes import FakeBench
from tests.support.databases import known_tables, unhurried_storage
from tests.support.disks import mounted
from tests.support.tiny_pipelines import resolve, tiny_folder
from tests.support.tune_fakes import ABILITIES, DEFAULT, FakeRig
from tests.support.tune_stories import like

__all__ = ["known_tables", "tiny_folder", "unhurried_storage"]

FIXED = [
    argument
    for key in ("guidance=3", "batch=1", "scheduler=auto", "mode=sync", "workers=1")
    for argument in ("--search", key)
] + ["--search", "optimisations=none", "--search", "steps=8|10|12|16|20", "--images", "2"]


class Rig(FakeRig):
    """Stands for `LiveRig`."""

    interrupts_after = None

    def __init__(self, model, device, subject, cpu_threads, pool, pictures=()):
        super().__init__(noise=like, fails=self.fail)
        self.model, self.subject, self.pictures = model, subject, pictures
        self.device = device
        self.draws = 0

    def fail(self, setting):
        self.draws += 1
        if self.interrupts_after is not None and self.draws > self.interrupts_after:
            raise KeyboardInterrupt

    def describe_device(self):
        return ABILITIES.device

    def examine(self, workload):
        return ABILITIES


class Bench(FakeBench):
    candidate_s = 1.0

    def __init__(self):
        super().__init__()
        self.behaviours = {"default": {"seconds": 2.0}, "candidate": {"seconds": self.candidate_s}}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.fixture
def tune(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tune_rig, "LiveRig", Rig)
    monkeypatch.setattr(ab_bench, "LiveBench", Bench)
    monkeypatch.setattr(
        "sdperf.models.loader.resolve_model",
        lambda name, *, pipeline_class=None: ResolvedModel(
            name, tmp_path, "hash", pipeline_class or "StableDiffusionPipeline", ()
        ),
    )
    return lambda *typed: main(["tune", *typed])


def test_a_study_from_the_first_trial_to_the_profile(tune, tmp_path, capsys):
    assert (
        tune("--trials", "5", "--seed", "1", *FIXED, "--json", "t.json", "--markdown", "t.md") == 0
    )
    shown = capsys.readouterr()
    assert "winner: trial" in shown.out
    assert "2.00 times as fast as the default" in shown.out
    assert "sdperf tune: #4 (0 left): " in shown.err
    assert "sdperf tune: #0 (4 left): " in shown.err
    assert "..." not in shown.err
    assert ": 1 of at most 12 blocks, " in " ".join(shown.err.split())
    assert "best so far" in shown.err
    assert max(map(len, [*shown.out.splitlines(), *shown.err.splitlines()])) <= 100
    profile = read_profile(tmp_path / "sdperf-tuned.toml")
    assert profile.num_inference_steps == 8
    assert len(read_summary(tmp_path / "t.json").trials) == 5
    assert "times as fast" in (tmp_path / "t.md").read_text()

    assert tune("show") == 0
    assert "winner: trial" in capsys.readouterr().out


def test_joining_asks_nothing_again_and_refuses_what_differs(tune, tmp_path, capsys):
    assert tune("--trials", "2", "--confirm", "0", *FIXED) == 1
    assert "no winner" in capsys.readouterr().out
    assert tune("--trials", "3", "--confirm", "0") == 1
    assert tune("--trials", "3", "--confirm", "0", *FIXED) == 1
    assert tune("--trials", "3", "--images", "2") in (0, 1)
    capsys.readouterr()
    assert tune("--min-ssim", "0.9") == 2
    refused = capsys.readouterr().err
    assert "asks something else" in refused
    assert "limits.min_ssim" in refused
    assert (
        tune("--study", "other", "--min-ssim", "0.9", "--trials", "2", "--confirm", "0", *FIXED)
        == 1
    )


def test_a_study_of_a_picture_keeps_it_and_asks_for_the_file_again(
    tune, tmp_path, monkeypatch, capsys
):
    Image.new("RGB", (64, 64), (200, 30, 30)).save("mine.png")
    rigs = []
    own = Rig.__init__

    def note(self, **arguments):
        own(self, **arguments)
        rigs.append(self)

    monkeypatch.setattr(
        Rig, "__init__", lambda self, model, **more: note(self, model=model, **more)
    )
    begin = ("--trials", "2", "--confirm", "0", *FIXED)
    assert tune(*begin, "--input-image", "mine.png", "--strength", "0.5") == 1
    assert rigs[-1].model.pipeline_class == "StableDiffusionImg2ImgPipeline"
    assert len(rigs[-1].pictures) == 1
    capsys.readouterr()
    assert tune("--trials", "3", "--confirm", "0") == 2
    refused = capsys.readouterr().err
    assert "draws from a file of yours" in refused
    assert "--task image-to-image --input-image FILE --strength 0.5" in refused
    assert tune("--trials", "3", "--confirm", "0", "--input-image", "mine.png") == 2
    assert "workload.picture" in capsys.readouterr().err
    again = ("--task", "image-to-image", "--input-image", "mine.png", "--strength", "0.5")
    assert tune("--trials", "3", "--confirm", "0", *again) == 1
    assert tune("--trials", "3", "--task", "text-to-image") == 2
    assert "the study draws from a picture" in capsys.readouterr().err


def test_a_study_of_the_shipped_picture_goes_on_by_itself(tune, tmp_path, capsys):
    begin = ("--trials", "2", "--confirm", "0", "--task", "inpaint", *FIXED)
    assert tune(*begin, "--json", "t.json") == 1
    picture = read_summary(tmp_path / "t.json").question.workload.picture
    assert (picture.task, picture.arguments) == ("inpaint", ("image", "mask_image", "strength"))
    assert tune("--trials", "3", "--confirm", "0") == 1
    capsys.readouterr()
    assert tune("--trials", "3", "--confirm", "0", "--task", "image-to-image") == 2
    assert "workload.picture" in capsys.readouterr().err


PROGRAM = """
import sys
from pathlib import Path
from sdperf.ab.turns import bench
from sdperf.cli import main
from sdperf.models import loader
from sdperf.tune.trial import rig
from tests.cli.test_tune import Bench, Rig
rig.LiveRig, bench.LiveBench = Rig, Bench
loader.resolve_model = lambda name, **_: loader.ResolvedModel(
    name, Path.cwd(), "hash", "StableDiffusionPipeline", ()
)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("ending", "expected"), [("pipe", 0), ("full", 2), ("closed", 2)])
@pytest.mark.long
def test_a_study_whose_output_nobody_can_read_is_kept(tmp_path, monkeypatch, ending, expected):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "tune.py"
    program.write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    typed = ("tune", "--trials", "3", "--seed", "1", *FIXED, "--json", "t.json")
    status, errors = end_output(ending, *typed, program=(program,), env=environment)
    assert status == expected
    assert ("standard output cannot be written" in errors) == (expected == 2)
    assert len(read_summary(tmp_path / "t.json").trials) == 3
    assert read_profile(tmp_path / "sdperf-tuned.toml").num_inference_steps is not None


def test_ctrl_c_keeps_what_there_is(tune, monkeypatch, capsys):
    monkeypatch.setattr(Rig, "interrupts_after", 12)
    assert tune("--trials", "20", *FIXED) == 130
    told = capsys.readouterr().err
    assert "the same command goes on" in told
    assert told.count("interrupted") == 1
    assert tune("show") == 1
    assert "cut off" in capsys.readouterr().out


def test_without_confirmation_it_is_said_how_to_confirm(tune, capsys):
    assert tune("--trials", "5", "--seed", "1", *FIXED, "--confirm", "0") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "not measured beside the default; the same command with --confirm 3 measures" in shown


def test_nothing_better_is_no_winner_and_no_profile(tune, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Bench, "candidate_s", 2.0)
    assert tune("--trials", "4", *FIXED) == 1
    assert "no winner" in capsys.readouterr().out
    assert not (tmp_path / "sdperf-tuned.toml").exists()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--search", "steps"], "--search cannot be read"),
        (["--search", "colour=red"], "cannot be searched"),
        (["--size", "big"], "--size cannot be used; got: big; expected: WIDTHxHEIGHT"),
        (["--default", "precision=fp8"], "precision cannot be used"),
        (["--guidance", "nan"], "--guidance cannot be used"),
        (["--json", "/no/such/folder/x.json"], "--json cannot be written"),
        (["--json", "x", "--markdown", "./x"], "--json and --markdown are the same file"),
        (["show", "--study", "none"], "no study here"),
        (["--json", "x.db", "--storage", "./x.db"], "--json and --storage are the same file"),
        (["--storage", "nonsense://x"], "cannot be used"),
        (["--max-memory", "6"], "--max-memory cannot be used; got: 6; expected: a size in KiB"),
        (["--trials", "0"], "--trials cannot be used; got: 0; expected: a whole number, 1 to"),
        (["--seed", "x"], "--seed cannot be used; got: x"),
    ],
)
def test_what_cannot_be_used_is_refused(tune, typed, words, capsys):
    assert tune("--trials", "1", *typed) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "typed",
    [("--search", "optimisations=none|loop_graph"), ("--default", "optimisations=loop_graph")],
)
def test_what_the_device_cannot_run_is_refused_before_anything_is_loaded(
    tune, typed, monkeypatch, capsys
):
    monkeypatch.setattr(Rig, "examine", lambda *_: pytest.fail("a pipeline was loaded"))
    assert tune("--trials", "1", *typed) == 2
    told = capsys.readouterr().err
    assert "sdperf tune: loop_graph cannot be used on cpu: " in told
    assert "got: loop_graph; " in told


def test_a_live_rig_learns_draws_and_reports(tiny_folder):
    workload = Workload("tiny", ("red apple", "house"), 2, 3.0, height=32, width=32)
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120)
    rig = LiveRig(resolve(tiny_folder("sd")), "cpu", None, 1, pool)
    try:
        abilities = rig.examine(workload)
        assert abilities.family == "sd"
        assert len(abilities.schedulers) > 3
        setting = DEFAULT.__class__(2, 3.0, batch=2, optimisations=("device_loop",))
        rig.load(workload, setting)
        images = [workload.image(0), workload.image(1)]
        drawn = rig.draw(workload, setting, images)
        assert drawn.seconds_per_image > 0
        assert drawn.memory_bytes > 0
        assert len({image.png for image in drawn.images}) == 2
        assert not pool.keeps_processes, "on the CPU memory is the process's"
    finally:
        rig.close()


def test_json_holds_no_name_of_this_machine(tune, tmp_path):
    tune("--trials", "2", "--confirm", "0", *FIXED, "--json", "t.json")
    document = json.loads((tmp_path / "t.json").read_text())
    assert {one["host"] for one in document["trials"]} == {"host 1"}


@pytest.mark.parametrize("option", ["--profile", "--json", "--markdown", "--storage"])
def test_a_folder_that_nobody_can_write_is_found_out_first(tune, tmp_path, capsys, option):
    with mounted(tmp_path / "disk", "40m") as make_read_only:
        assert make_read_only() == 0
        assert tune("--trials", "2", *FIXED, option, str(tmp_path / "disk/file")) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert f"sdperf tune: {option}: " in shown.err
    assert "cannot be written; got: Read-only file system" in shown.err
    assert not (tmp_path / ".sdperf").exists()


def test_a_disk_without_room_is_found_out_first(tune, tmp_path, capsys, monkeypatch):
    with mounted(tmp_path / "disk", "1m"):
        assert tune("--trials", "2", *FIXED, "--storage", str(tmp_path / "disk/file.db")) == 2
        assert "--storage: the disk of" in capsys.readouterr().err
        monkeypatch.setenv("TMPDIR", str(tmp_path / "disk"))
        assert tune("--trials", "2", *FIXED) == 2
        assert "TMPDIR, the folder of temporary files: the disk of" in capsys.readouterr().err
    assert not (tmp_path / ".sdperf").exists()


def test_a_disk_that_fills_up_keeps_the_trials_that_ended(tune, tmp_path, capsys, monkeypatch):
    """The storage fails in the midst of a study: one message, and all that ended is there."""
    monkeypatch.setattr(outputs, "LEAST_FREE_BYTES", 0)
    # Optuna waits about a second before it tries to write again, in vain.
    sleepless = SimpleNamespace(sleep=lambda seconds: None)
    monkeypatch.setattr("optuna.storages._rdb.storage.time", sleepless)
    from sdperf.cli.tune.view import StudyView

    show = StudyView.show_trial
    ended = []

    def fill(self, trial, study, trials):
        show(self, trial, study, trials)
        ended.append(trial.number)
        if len(ended) == 2:
            with (
                contextlib.suppress(OSError),
                (tmp_path / "disk/filler").open("wb", buffering=0) as file,
            ):
                while True:
                    file.write(bytes(1024))

    monkeypatch.setattr(StudyView, "show_trial", fill)
    with mounted(tmp_path / "disk", "2m"):
        storage = ("--storage", str(tmp_path / "disk/tune.db"))
        assert tune("--trials", "5", "--confirm", "0", *storage, *FIXED) == 2
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        message = shown.err.splitlines()[-1]
        assert message.startswith("sdperf tune: ")
        assert "full" in message or "No space" in message
        (tmp_path / "disk/filler").unlink()
        assert tune("show", *storage) == 1
        assert "2 complete" in capsys.readouterr().out
        monkeypatch.setattr(StudyView, "show_trial", show)
        assert tune("--trials", "5", "--confirm", "0", *storage) == 1
        assert "5 complete" in capsys.readouterr().out


def test_a_place_whose_name_is_not_utf8_is_refused_first(tune, tmp_path, monkeypatch, capsys):
    name = os.fsdecode(b"caf\xe9")
    assert tune("--trials", "2", *FIXED, "--storage", f"{name}.db") == 2
    assert "a study cannot be kept in a place whose name is not UTF-8" in capsys.readouterr().err
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert tune("--trials", "2", *FIXED) == 2
    assert "--storage FILE with another name" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert tune("--trials", "2", "--confirm", "0", *FIXED, "--study", name) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("sdperf tune: a name is not UTF-8 and cannot be written there; got:")
    assert message.isascii()
