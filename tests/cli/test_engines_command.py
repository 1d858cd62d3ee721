"""``sdperf engines``: what is installed, what is kept, and what cleaning leaves."""

import pytest

from sdperf.cli import main
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import ENGINES
from tests.engines.test_cache import CONVERSION, Converter
from tests.support.toy_engine import toy_choice


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SDPERF_CACHE", str(tmp_path))
    monkeypatch.setitem(ENGINES, "toy", toy_choice(packages=(("sdperf-toy",),)))
    return EngineCache(tmp_path / "engines")


def test_what_is_installed_and_kept_is_listed_within_the_width(cache, capsys):
    with cache.opened(CONVERSION, Converter()) as opened:
        (cache.folder / "toy-vae_decoder-0123456789abcdef.building").mkdir()
        assert main(["engines", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("torch ")
    assert any(line.endswith("not installed: pip install 'sdperf[toy]'") for line in lines)
    (kept,) = [line for line in lines if line.startswith(opened.folder.name)]
    assert "embedded fp32 32x32" in kept
    assert kept.endswith(", in use")
    assert any("unfinished" in line for line in lines)
    assert lines[-1].startswith("2 conversions, ")
    assert all(len(line) <= 100 for line in lines[:-1])


def test_cleaning_says_what_it_freed_and_what_it_kept(cache, capsys):
    with cache.opened(CONVERSION, Converter()) as opened:
        assert main(["engines", "clean"]) == 0
        assert f"kept, in use: {opened.folder.name}" in capsys.readouterr().out
    assert main(["engines", "clean"]) == 0
    assert "freed in" in capsys.readouterr().out
    assert cache.list_entries() == []
