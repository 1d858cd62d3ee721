"""Compiled code that outlives its session: where it lies, and what is refused."""

import os
import stat
import time
from dataclasses import replace

import pytest
import torch

from sdperf.errors import ConfigurationError
from sdperf.measure.page_cache import describe_compile_cache
from sdperf.pipeline.optimisations.catalogue import find_conflict
from sdperf.pipeline.optimisations.compiling import keep_compiled_code
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.run import worker
from sdperf.run.messages import WorkerSpec
from tests.support.tiny_pipelines import resolve

FOLDER = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDER, str(tmp_path / "elsewhere"))
    return tmp_path / "cache"


def test_code_lies_in_a_folder_of_this_user_and_of_these_versions(cache):
    folder = keep_compiled_code()
    assert folder.parent == cache / "compiled"
    assert torch.__version__ in folder.name
    assert os.environ[FOLDER] == str(folder)
    for one in (folder, folder.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
    assert describe_compile_cache() == "cold"
    (folder / "fxgraph").mkdir()
    assert keep_compiled_code() == folder
    assert describe_compile_cache() == "warm"


def test_it_is_kept_where_that_was_asked_for(cache, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    class Bare:
        unet = torch.nn.Linear(2, 2)
        vae = torch.nn.Module()

    Bare.vae.decoder = torch.nn.Linear(2, 2)
    optimise_networks(Bare(), ("compile_vae",))
    assert not cache.exists()
    optimise_networks(Bare(), ("compile_vae", "kept_code"))
    assert (cache / "compiled").is_dir()
    assert find_conflict(("kept_code",)) is not None


def test_a_worker_says_whether_the_last_session_left_code(cache, tiny_folder, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    spec = WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu")
    spec = replace(spec, optimisations=("compile_vae", "kept_code"))
    try:
        assert worker.load(spec).compile_cache == "cold"
        (next((cache / "compiled").iterdir()) / "fxgraph").mkdir()
        assert worker.load(spec).compile_cache == "warm"
    finally:
        worker.unload()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_the_compiler_made_lies_there_and_is_found_again(cache):
    folder, value = keep_compiled_code(), torch.linspace(0, 1, 7)
    counted = torch._dynamo.utils.counters
    found = []
    for _ in range(2):
        torch._dynamo.reset()
        counted.clear()
        compiled = torch.compile(lambda value: value.sin() + 1)
        assert torch.allclose(compiled(value), value.sin() + 1)
        hits = counted["aot_autograd"]["autograd_cache_hit"]
        found.append(hits + counted["inductor"]["fxgraph_cache_hit"])
    torch._dynamo.reset()
    assert [bool(each) for each in found] == [False, True]
    assert any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("mode", [0o777, 0o770])
@pytest.mark.parametrize("which", ["compiled", "of the version"])
def test_a_folder_that_others_can_write_to_is_refused(cache, mode, which):
    folder = keep_compiled_code()
    (folder if which == "of the version" else folder.parent).chmod(mode)
    os.environ[FOLDER] = "as before"
    with pytest.raises(ConfigurationError, match="others can write there") as caught:
        keep_compiled_code()
    assert "chmod go-w" in str(caught.value)
    assert os.environ[FOLDER] == "as before"


def test_a_link_and_another_users_folder_are_refused(cache, tmp_path, monkeypatch):
    (tmp_path / "theirs").mkdir(mode=0o700)
    cache.mkdir()
    (cache / "compiled").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigurationError, match="it is not a folder"):
        keep_compiled_code()
    (cache / "compiled").unlink()
    keep_compiled_code()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(ConfigurationError, match="it is another user's"):
        keep_compiled_code()


def test_what_cannot_be_written_is_one_message(cache, monkeypatch):
    cache.write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no compiled code can be kept in"):
        keep_compiled_code()
    monkeypatch.setattr("sdperf.pipeline.optimisations.compiling.default_cache_dir", lambda: None)
    with pytest.raises(ConfigurationError, match="there is no folder to keep compiled code in"):
        keep_compiled_code()


def test_code_of_other_versions_goes_when_nobody_used_it_for_a_month(cache):
    kept = keep_compiled_code().parent
    old, recent = kept / "sdperf-0-torch-1", kept / "sdperf-0-torch-2"
    for one, days in ((old, 31), (recent, 29)):
        (one / "triton").mkdir(parents=True)
        then_s = time.time() - days * 86_400
        os.utime(one, (then_s, then_s))
    keep_compiled_code()
    assert not old.exists()
    assert recent.exists()
