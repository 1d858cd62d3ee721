from pathlib import Path

from sdperf.measure.page_cache import describe_compile_cache, describe_page_cache


def test_a_file_that_was_just_written_is_warm_and_a_missing_one_unknown(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 1_000_000)
    assert describe_page_cache([path]) in ("warm", None)  # None where the system does not tell
    assert describe_page_cache([path, Path(tmp_path / "gone")]) is None
    assert describe_page_cache([]) is None


def test_an_empty_file_has_no_pages(tmp_path):
    (tmp_path / "empty").touch()
    assert describe_page_cache([tmp_path / "empty"]) is None


def test_the_compile_cache_is_warm_once_something_lies_in_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    assert describe_compile_cache() == "cold"
    (tmp_path / "cache").mkdir()
    assert describe_compile_cache() == "cold"
    (tmp_path / "cache" / "kernel.so").touch()
    assert describe_compile_cache() == "warm"
