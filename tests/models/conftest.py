import pytest

from tests.support.tiny_pipelines import tiny_folder

__all__ = ["tiny_folder"]


@pytest.fixture(autouse=True)
def cache_of_its_own(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
