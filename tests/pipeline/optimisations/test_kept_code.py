"""Compiled code that outlives its session: where it lies, and what is refused."""

import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sdperf.errors import ConfigurationError
from sdperf.measure.page_cache import describe_compile_cache
from sdperf.pipeline import kept_code
from sdperf.pipeline.kept_code import keep_compiled_code, stop_keeping_code
from sdperf.pipeline.optimisations.catalogue import find_conflict
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.run import worker
from sdperf.run.messages import WorkerSpec
from tests.support.tiny_pipelines import resolve

FOLDER, TRITON = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(FOLDER, str(tmp_path / "elsewhere"))
    monkeypatch.setenv(TRITON, str(tmp_path / "shared"))
    monkeypatch.setattr(kept_code, "_before", {})
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
    monkeypatch.setattr("sdperf.pipeline.kept_code.default_cache_dir", lambda: None)
    with pytest.raises(ConfigurationError, match="there is no folder to keep compiled code in"):
        keep_compiled_code()


def make_old(folder, days=31):
    (folder / "triton").mkdir(parents=True)
    then_s = time.time() - days * 86_400
    os.utime(folder, (then_s, then_s))
    return folder


def test_code_of_other_versions_goes_when_nobody_used_it_for_a_month(cache):
    (cache / "compiled").mkdir(mode=0o700, parents=True)
    old = make_old(cache / "compiled" / "sdperf-0-torch-1")
    newer = make_old(cache / "compiled" / "sdperf-0.2.0-torch-2.9.1+cpu-x86_64-0123abcd")
    recent = make_old(cache / "compiled" / "sdperf-0-torch-2", days=29)
    keep_compiled_code()
    assert not old.exists()
    assert not newer.exists()
    assert recent.exists()


def test_nothing_else_is_removed(cache, tmp_path):
    (cache / "compiled").mkdir(mode=0o700, parents=True)
    release = make_old(cache / "compiled" / "my-release")
    aimed = make_old(tmp_path / "aimed")
    link = cache / "compiled" / "sdperf-0-torch-1"
    link.symlink_to(aimed)
    os.utime(link, (1, 1), follow_symlinks=False)
    keep_compiled_code()
    assert (release / "triton").is_dir()
    assert (aimed / "triton").is_dir()
    assert link.is_symlink()


@pytest.mark.parametrize("step", ["lstat", "iterdir"])
def test_another_session_that_was_faster_is_no_fault(cache, monkeypatch, step):
    (cache / "compiled").mkdir(mode=0o700, parents=True)
    make_old(cache / "compiled" / "sdperf-0-torch-1")
    real = getattr(Path, step)

    def after_the_other(path):
        if path.name == ("sdperf-0-torch-1" if step == "lstat" else "compiled"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(Path, step, after_the_other)
    assert keep_compiled_code().is_dir()


def test_a_process_looks_for_old_code_once(cache):
    kept = keep_compiled_code().parent
    old = make_old(kept / "sdperf-0-torch-1")
    keep_compiled_code()
    assert old.is_dir()


@pytest.mark.parametrize("mode", [0o2775, 0o777])
def test_a_cache_folder_that_others_can_write_to_is_refused(cache, mode):
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(ConfigurationError, match="others can write there") as caught:
        keep_compiled_code()
    assert f"chmod go-w {cache}" in caught.value.hint


@pytest.mark.parametrize(("mode", "is_refused"), [(0o777, True), (0o775, True), (0o1777, False)])
def test_folders_on_the_way_are_nobody_elses_or_sticky(
    cache, tmp_path, monkeypatch, mode, is_refused
):
    between = tmp_path / "between"
    between.mkdir()
    between.chmod(mode)
    monkeypatch.setenv("SDPERF_CACHE", str(between / "mine" / "cache"))
    if not is_refused:
        assert keep_compiled_code().is_relative_to(between)
        return
    with pytest.raises(ConfigurationError, match=f"{between} cannot be trusted"):
        keep_compiled_code()
    assert os.environ[FOLDER] == str(tmp_path / "elsewhere")


def test_a_link_of_yours_in_the_place_of_the_cache_folder_is_followed(cache, tmp_path, monkeypatch):
    (tmp_path / "scratch" / "real").mkdir(mode=0o700, parents=True)
    (tmp_path / "scratch" / "second").symlink_to("../scratch/real")
    cache.symlink_to(tmp_path / "scratch" / "second")
    assert keep_compiled_code().parent == tmp_path / "scratch" / "real" / "compiled"
    (tmp_path / "scratch").chmod(0o777)
    with pytest.raises(ConfigurationError, match="scratch cannot be trusted"):
        keep_compiled_code()
    (tmp_path / "scratch").chmod(0o700)
    owned = Path.lstat

    def lstat(path):
        found = list(owned(path))
        if path == tmp_path / "scratch" / "second":
            found[stat.ST_UID] = os.getuid() + 1
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(ConfigurationError, match="it is another user's") as caught:
        keep_compiled_code()
    assert "SDPERF_CACHE" in caught.value.hint


def test_links_in_a_circle_are_one_message(cache):
    cache.symlink_to(cache)
    with pytest.raises(ConfigurationError, match="no compiled code can be kept in"):
        keep_compiled_code()


def test_processors_that_run_other_code_have_folders_of_their_own(cache, monkeypatch):
    first = keep_compiled_code()
    monkeypatch.setattr(kept_code, "_read_processor", lambda: iter(["flags : fpu avx2"]))
    second = keep_compiled_code()
    assert first != second
    assert kept_code._OURS.fullmatch(first.name)
    assert kept_code._OURS.fullmatch(second.name)


def test_folders_that_are_made_are_this_users_alone_whatever_the_umask(cache, monkeypatch):
    monkeypatch.setenv("SDPERF_CACHE", str(cache / "a" / "b"))
    before = os.umask(0)
    try:
        keep_compiled_code()
    finally:
        os.umask(before)
    for one in (cache, cache / "a", cache / "a" / "b"):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700


def test_tritons_code_lies_there_too_and_both_are_put_back(cache, tmp_path, monkeypatch):
    folder = keep_compiled_code()
    keep_compiled_code()
    assert os.environ[TRITON] == str(folder / "triton")
    stop_keeping_code()
    assert os.environ[FOLDER] == str(tmp_path / "elsewhere")
    assert os.environ[TRITON] == str(tmp_path / "shared")
    monkeypatch.delenv(TRITON)
    keep_compiled_code()
    stop_keeping_code()
    assert TRITON not in os.environ


def test_a_worker_puts_the_folders_back(cache, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    spec = WorkerSpec(resolve(tiny_folder("sd")), "fp32", "cpu")
    kept = replace(spec, optimisations=("compile_vae", "kept_code"))
    try:
        worker.load(kept)
        assert os.environ[FOLDER].startswith(str(cache))
        worker.load(spec)
        assert os.environ[FOLDER] == str(tmp_path / "elsewhere")
        monkeypatch.setattr(worker, "LoadedPipeline", lambda spec: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.load(kept)
        assert os.environ[FOLDER] == str(tmp_path / "elsewhere")
        assert os.environ[TRITON] == str(tmp_path / "shared")
    finally:
        worker.unload()
