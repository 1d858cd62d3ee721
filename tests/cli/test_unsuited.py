"""An optimisation that was named and cannot run ends a command before it installs or loads."""

from types import SimpleNamespace

import pytest

from sdperf.cli import main
from sdperf.models import finding

UNET = "cannot be used with this model; got: a UNet2DConditionModel"


@pytest.fixture(autouse=True)
def nothing_begins(tmp_path, monkeypatch):
    """No command gets as far as its model's weights, and none to its workers."""

    def fail(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sdperf.models.loader.resolve_model", fail)
    monkeypatch.setattr("sdperf.run.pool.WorkerPool.describe_device", fail)


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "--python-package", "no-such-package", "--set", "optimisations=taylorseer_cache"),
        ("sweep", "--commits", "a..b", "--set", "optimisations=taylorseer_cache"),
        ("bisect", "a", "b", "--set", "optimisations=embed_cache+taylorseer_cache"),
        ("tune", "--search", "optimisations=none|taylorseer_cache"),
        ("tune", "--default", "optimisations=taylorseer_cache"),
    ],
    ids=" ".join,
)
def test_what_the_models_network_cannot_have_is_refused_first(command, capsys):
    assert main([*command]) == 2
    assert f"taylorseer_cache {UNET}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "--commits", "a..b", "--set"),
        ("bisect", "a", "b", "--set"),
        ("tune", "--default"),
    ],
    ids=" ".join,
)
def test_what_the_named_device_cannot_run_is_refused_first(command, capsys):
    status = main([*command, "optimisations=loop_graph", "--device", "cpu"])
    assert status == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "loop_graph cannot be used on cpu: it is a feature of CUDA devices" in said


def test_what_the_device_of_a_study_cannot_run_is_refused_before_its_model_is_fetched(
    monkeypatch, capsys
):
    stored = SimpleNamespace(
        workload=SimpleNamespace(model="embedded"), subject=None, device_kind="cpu"
    )
    known = SimpleNamespace(question=stored)
    monkeypatch.setattr("sdperf.tune.study.opening.find_study", lambda *_: known)
    picture = SimpleNamespace(picture=None, pipeline_class=None, files=None)
    monkeypatch.setattr("sdperf.tune.question.asking.choose_for_study", lambda *_, **__: picture)
    assert main(["tune", "--default", "optimisations=loop_graph"]) == 2
    assert "loop_graph cannot be used on cpu" in " ".join(capsys.readouterr().err.split())


def test_the_index_is_looked_at_only_where_the_answer_depends_on_it(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(finding, "find_denoiser", asked.append)
    begin = ("sweep", "--commits", "a..b")
    assert main([*begin, "--set", "optimisations=embed_cache"]) == 2
    assert main([*begin, "--set", "optimisations=mag_cache", "--subject", "mine:make"]) == 2
    assert asked == []
    assert main([*begin, "--set", "optimisations=mag_cache"]) == 2
    assert asked == ["embedded"]
    assert capsys.readouterr().err.count("this folder lies in no git repository") == 3
