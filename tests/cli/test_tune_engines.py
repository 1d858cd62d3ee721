"""``sdperf tune`` with engines: what is refused, what a study keeps, what a winner is run by."""

import dataclasses
from importlib.util import find_spec

import pytest

from sdperf.ab.sides.settings import parse_settings
from sdperf.ab.sides.sides import MatrixCase
from sdperf.cli import main
from sdperf.engines.catalogue import ENGINES
from sdperf.images import compare_images
from sdperf.images.png import decode_png
from sdperf.record.workload import InputPicture, Workload
from sdperf.report.figures.tune import draw_front
from sdperf.report.html.page import render_page
from sdperf.report.pictures.pictures import locate_pictures
from sdperf.report.text.tune import describe_starts
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.messages import EngineShape
from sdperf.run.pool import WorkerPool
from sdperf.store.profile import Profile, format_profile, read_profile
from sdperf.tune import confirming
from sdperf.tune.question.making_space import make_space
from sdperf.tune.question.question import StudyQuestion
from sdperf.tune.question.setting import TrialSetting
from sdperf.tune.summary import read_summary
from sdperf.tune.trial.rig import LiveRig, TrialStart
from sdperf.tune.trial.trying import try_setting
from sdperf.tune.trial.tuning import draw_references
from tests.cli.test_tune import FIXED, Rig, tune
from tests.support.databases import known_tables, unhurried_storage
from tests.support.tiny_pipelines import resolve, tiny_folder
from tests.support.toy_engine import toy_choice
from tests.support.tune_fakes import ABILITIES

__all__ = ["known_tables", "tiny_folder", "tune", "unhurried_storage"]

HOSTED = dataclasses.replace(ABILITIES, engines=("torch", "openvino"))
BEGIN = ("--confirm", "0", *FIXED)


def put_openvino(monkeypatch, *packages):
    """Let openvino need these packages, whatever is installed."""
    choice = dataclasses.replace(ENGINES["openvino"], packages=tuple((one,) for one in packages))
    monkeypatch.setitem(ENGINES, "openvino", choice)


def find(monkeypatch, abilities):
    monkeypatch.setattr(Rig, "examine", lambda *_: abilities)


@pytest.mark.parametrize(
    "typed", [("--search", "engine=torch|openvino"), ("--default", "engine=openvino")]
)
def test_an_engine_that_is_not_installed_is_refused_before_anything_is_loaded(
    tune, typed, monkeypatch, capsys
):
    put_openvino(monkeypatch, "no-such-package")
    monkeypatch.setattr(Rig, "examine", lambda *_: pytest.fail("a pipeline was loaded"))
    assert tune("--trials", "1", *typed) == 2
    assert capsys.readouterr().err == (
        "sdperf tune: the engine openvino is not installed for cpu (no-such-package missing); "
        "do: pip install 'sdperf[openvino]'\n"
    )


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("engine=onnx,precision=bf16", "the engine onnx cannot run bf16; expected: fp32, fp16"),
        ("engine=external:mine=draw", "a search cannot start from a program"),
    ],
)
def test_a_default_that_its_engine_cannot_run_is_refused_before_anything_is_loaded(
    tune, typed, told, monkeypatch, capsys
):
    monkeypatch.setitem(ENGINES, "onnx", dataclasses.replace(ENGINES["onnx"], packages=()))
    monkeypatch.setattr(Rig, "examine", lambda *_: pytest.fail("a pipeline was loaded"))
    assert tune("--trials", "1", "--default", typed) == 2
    assert told in capsys.readouterr().err


def test_a_study_keeps_its_engines_whatever_is_installed_later(tune, monkeypatch, capsys):
    """Typed again, a search that names no engine stays what it was when the study began."""
    put_openvino(monkeypatch)
    assert tune("--trials", "2", *BEGIN) == 1
    find(monkeypatch, HOSTED)
    assert tune("--trials", "3", *BEGIN) == 1
    assert tune("--trials", "2", "--study", "both", *BEGIN) == 1
    find(monkeypatch, ABILITIES)
    assert tune("--trials", "3", "--study", "both", *BEGIN) == 1
    capsys.readouterr()
    assert tune("--trials", "3", *BEGIN, "--search", "engine=openvino") == 2
    assert "asks something else" in capsys.readouterr().err


def test_whoever_joins_a_study_needs_its_engines(tune, monkeypatch, capsys):
    find(monkeypatch, HOSTED)
    put_openvino(monkeypatch)
    assert tune("--trials", "2", *BEGIN) == 1
    put_openvino(monkeypatch, "no-such-package")
    capsys.readouterr()
    assert tune("--trials", "3", "--confirm", "0") == 2
    assert "the engine openvino is not installed for cpu" in capsys.readouterr().err


def test_a_winner_on_an_engine_is_shown_written_and_run_by_it(tune, tmp_path, monkeypatch, capsys):
    put_openvino(monkeypatch)
    find(monkeypatch, HOSTED)
    own, compare, sides = Rig.__init__, confirming.compare, []

    def start(self, *given, **named):
        own(self, *given, **named)
        costs = {"torch": TrialStart(2.0), "openvino": TrialStart(5.0, 30.0)}
        self.start = lambda setting: costs[setting.engine]
        self.seconds = lambda setting: 1.0 if setting.engine == "openvino" else 2.0

    def note(a, b, *rest, **more):
        sides.append([side.variant_for(MatrixCase()).engine for side in (a, b)])
        return compare(a, b, *rest, **more)

    monkeypatch.setattr(Rig, "__init__", start)
    monkeypatch.setattr(confirming, "compare", note)
    only = [one.replace("steps=8|10|12|16|20", "steps=20") for one in FIXED]
    written = ("--json", "t.json", "--markdown", "t.md")
    assert tune("--trials", "5", "--seed", "1", *only, *written) == 0
    shown = capsys.readouterr()
    assert "engine=openvino" in shown.err
    assert "converting for openvino: 30.0 s, once" in shown.out
    assert (
        "to the first images: 5.00 s the winner, 2.00 s the default; 66 images make up for that "
        "and for converting (without a second start after converting)"
    ) in " ".join(shown.out.split())
    assert max(map(len, shown.out.splitlines())) <= 100
    assert sides == [["torch", "openvino"]]

    assert "`engine=openvino`" in (tmp_path / "t.md").read_text()
    profile = read_profile(tmp_path / "sdperf-tuned.toml")
    assert profile.engine == "openvino"
    assert profile.evidence["seconds_of_converting_once"] == 30.0
    assert parse_settings(["profile=sdperf-tuned.toml"]).variant["engine"] == "openvino"
    summary = read_summary(tmp_path / "t.json")
    assert summary.question.reference.engine == "torch"
    drawn, _ = draw_front(summary)
    assert "square: another engine" in drawn.caption
    assert any("engine=openvino" in cell for row in drawn.table.rows for cell in row)
    page = render_page([], locate_pictures([]), None, [summary])
    assert "converting for openvino: 30.0 s, once" in page

    replace, winner = dataclasses.replace, summary.find_winner()
    trial = summary.find_trial(winner.number)
    half = replace(
        trial,
        setting=replace(trial.setting, precision="fp16"),
        tried=replace(trial.tried, conversion_s=12.0),
    )
    batch = replace(winner, setting=replace(winner.setting, batch=4))
    assert summary.question.images % 4
    confirmations = tuple(batch if one is winner else one for one in summary.confirmations)
    more = replace(summary, trials=(*summary.trials, half), confirmations=confirmations)
    converting, ahead = describe_starts(more)
    assert converting == "converting for openvino: 30.0 s for fp32 and 12.0 s for fp16, each once"
    assert ahead.endswith(
        "(without a second start after converting and the first call with the rest of a batch)"
    )


def test_the_reference_of_a_study_whose_default_has_an_engine_is_torchs(
    tune, tmp_path, monkeypatch
):
    put_openvino(monkeypatch)
    find(monkeypatch, HOSTED)
    typed = (*BEGIN, "--default", "engine=openvino", "--markdown", "t.md")
    assert tune("--trials", "2", *typed) == 1
    default, reference = (
        line.split("engine=")[1].split(",")[0]
        for line in (tmp_path / "t.md").read_text().split(". The reference of all images: ")[:2]
    )
    assert (default, reference) == ("openvino", "torch")


def test_a_live_rig_runs_an_engine_and_says_what_starting_it_costs(
    tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    monkeypatch.setitem(ENGINES, "toy", toy_choice())
    workload = Workload("tiny", ("red apple", "house", "car"), 2, 3.0, height=32, width=32)
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120)
    rig = LiveRig(resolve(tiny_folder("sd")), "cpu", None, 1, pool)
    try:
        abilities = rig.examine(workload)
        assert "toy" in abilities.engines
        assert abilities.bound_to_torch is None
        images = [workload.image(index) for index in range(3)]
        drawn, starts = {}, {}
        for engine, shape in (("torch", None), ("toy", EngineShape(32, 32, guided=False))):
            setting = TrialSetting(2, 1.0, batch=2, engine=engine)
            starts[engine] = rig.load(workload, setting)
            assert pool.loaded.shape == shape
            drawn[engine] = [one.png for one in rig.draw(workload, setting, images).images]
        assert drawn["toy"] == drawn["torch"], "the toy runs the same arithmetic"
        assert starts["torch"].conversion_s is None
        assert starts["toy"].conversion_s > 0
        assert starts["toy"].seconds > 0
        (worker,) = pool.acquire(pool.loaded, 1)
        assert worker.report.engine.was_cached, "the process that converted was replaced"
    finally:
        rig.close()


def test_a_rest_that_a_batch_leaves_is_drawn_before_anything_is_timed(tiny_folder, monkeypatch):
    """Engines and compilers make a program for each number of images in a call."""
    workload = Workload("tiny", ("red apple", "house", "car"), 1, 1.0, height=32, width=32)
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120)
    rig = LiveRig(resolve(tiny_folder("sd")), "cpu", None, 1, pool)
    asked, run_round = [], pool.run_round

    def note(requests):
        asked.append(len(requests[0].images))
        return run_round(requests)

    monkeypatch.setattr(pool, "run_round", note)
    try:
        rig.load(workload, TrialSetting(1, 1.0, batch=2))
        assert asked == [2, 1]
        rig.load(workload, TrialSetting(1, 1.0))
        assert asked == [2, 1, 1], "no rest"
    finally:
        rig.close()


@pytest.mark.parametrize(
    ("family", "subject", "drawn_from", "reason"),
    [
        ("sd", "mine:make", None, "it takes the model's own pipeline and no code"),
        ("sd3", None, None, "it cannot run a StableDiffusionPipeline"),
        ("sd", None, InputPicture("0" * 64), "it draws from the prompt alone, this is drawn from"),
        ("sd", None, None, None),
    ],
)
def test_a_live_rig_says_why_only_torch_can_run_a_pipeline(
    tiny_folder, family, subject, drawn_from, reason
):
    rig = LiveRig(resolve(tiny_folder("sd")), "cpu", subject, 1)
    workload = Workload("tiny", ("a",), 2, 3.0, height=32, width=32, picture=drawn_from)
    told = rig.explain_bond(workload, family)
    assert told is None if reason is None else told.startswith(reason)


@pytest.fixture
def profile(tmp_path):
    """Write a profile of an engine, with the settings that `test_generate` draws by."""

    def write(model, engine="openvino"):
        path = tmp_path / "tuned.toml"
        tuned = Profile(str(model), 2, 3.0, width=32, height=32, engine=engine)
        path.write_text(format_profile(tuned))
        return path

    return write


def test_generate_refuses_a_profile_whose_engine_is_missing(profile, tmp_path, monkeypatch, capsys):
    put_openvino(monkeypatch, "no-such-package")
    words = ("red apple", "-o", str(tmp_path / "apple.png"), "--profile", str(profile("embedded")))
    assert main(["generate", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sdperf generate: the engine openvino is not installed for cpu")
    assert not (tmp_path / "apple.png").exists()


def test_generate_draws_from_the_prompt_alone_on_an_engine(profile, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put_openvino(monkeypatch)
    path = profile("embedded")
    words = ["red apple", "-o", "apple.png", "--profile", path.name, "--task", "image-to-image"]
    assert main(["generate", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "sdperf generate: the engine openvino of tuned.toml draws from the prompt alone; got: "
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("engine", "more", "told"),
    [
        ("coreml", (), "the engine coreml cannot run on cpu; "),
        ("onnx", ("--precision", "bf16"), "the engine onnx cannot run bf16; expected: fp32"),
    ],
)
def test_generate_refuses_an_engine_before_anything_is_loaded(
    profile, tmp_path, monkeypatch, capsys, engine, more, told
):
    monkeypatch.chdir(tmp_path)
    toy = dataclasses.replace(toy_choice(), name="onnx", precisions=("fp32",))
    monkeypatch.setitem(ENGINES, "onnx", toy)
    coreml = dataclasses.replace(ENGINES["coreml"], packages=())
    monkeypatch.setitem(ENGINES, "coreml", coreml)
    path = profile("embedded", engine)
    words = ["red apple", "-o", "apple.png", "--device", "cpu", "--profile", path.name, *more]
    assert main(["generate", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sdperf generate: {told}")
    hint = "--precision fp32" if more else "leave tuned.toml out, or write another engine into it"
    assert line.endswith(f"do: {hint}")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.long
@pytest.mark.skipif(find_spec("openvino") is None, reason="OPENVINO IS NOT TESTED")
def test_a_trial_on_openvino_and_the_picture_of_its_profile(
    profile, tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    folder = tiny_folder("sd")
    workload = Workload(str(folder), ("red apple",), 2, 3.0, height=32, width=32)
    pool = WorkerPool(host_factory=InProcessHost, timeout_s=120)
    rig = LiveRig(resolve(folder), "cpu", None, 1, pool)
    default = TrialSetting(2, 3.0)
    try:
        abilities = rig.examine(workload)
        assert "openvino" in abilities.engines
        space = make_space(workload, default, abilities, {"engine": ["openvino"]})
        question = StudyQuestion(workload, "hash", "cpu", None, default, space)
        references = draw_references(question, rig)
        hosted = dataclasses.replace(default, engine="openvino")
        tried = try_setting(question, hosted, rig, references, [])
    finally:
        rig.close()
    assert (tried.state, tried.reason) == ("complete", None)
    assert tried.fidelity.ssim > 0.99
    assert tried.conversion_s > 0
    output = tmp_path / "apple.png"
    words = ("red apple", "-o", str(output), "--profile", str(profile(folder)), "--device", "cpu")
    assert main(["generate", *words]) == 0
    assert " on cpu by openvino (first call, " in capsys.readouterr().out
    assert compare_images(decode_png(output.read_bytes()), decode_png(references[0])).ssim > 0.99
