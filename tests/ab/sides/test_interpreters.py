import sys
from pathlib import Path

import pytest

from sdperf.ab.sides.interpreters import (
    Interpreter,
    PackageDifference,
    compare_packages,
    examine_interpreter,
    label_interpreters,
    normalise_name,
)
from sdperf.errors import ConfigurationError


def interpreter(version="3.11.7", **packages):
    return Interpreter(Path("/secret/place"), version, packages)


def test_interpreters_are_named_by_what_tells_them_apart_and_never_by_place():
    torch = interpreter(torch="2.13.0"), interpreter(torch="2.14.1", numpy="2")
    assert label_interpreters(torch) == ("torch 2.13.0", "torch 2.14.1")
    numpy = interpreter(torch="1", numpy="2"), interpreter(torch="1")
    assert label_interpreters(numpy) == ("numpy 2", "numpy missing")
    pythons = interpreter("3.11.7"), interpreter("3.13.1")
    assert label_interpreters(pythons) == ("Python 3.11.7", "Python 3.13.1")
    assert label_interpreters((interpreter(),) * 2) == ("interpreter 1", "interpreter 2")


def test_packages_that_differ_are_listed_telling_ones_first():
    a = {"attrs": "1", "torch": "2", "same": "1", "numpy": "1"}
    b = {"torch": "3", "same": "1", "zope": "9", "numpy": "2"}
    assert compare_packages(a, b) == (
        PackageDifference("torch", "2", "3"),
        PackageDifference("numpy", "1", "2"),
        PackageDifference("attrs", "1", None),
        PackageDifference("zope", None, "9"),
    )
    assert compare_packages(a, a) == ()
    assert normalise_name("Hugging_Face.Hub") == "hugging-face-hub"


def fake_python(folder, script):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo hello", "is no Python; got: hello"),
        ("echo broken >&2; exit 3", "is no Python; got: broken"),
        ("exit 4", "is no Python; got: exit code 4"),
        ('echo \'{"version": [3, 10, 1], "packages": {}}\'', "too old; got: Python 3.10.1"),
        (
            'echo \'{"version": [3, 12, 1], "packages": {"numpy": "2", "Pillow": "11"}}\'',
            "cannot run a pipeline; got: no torch, diffusers, transformers, safetensors",
        ),
    ],
)
def test_an_interpreter_that_cannot_work_is_refused(tmp_path, script, words):
    with pytest.raises(ConfigurationError, match=words):
        examine_interpreter(fake_python(tmp_path, script))


def test_this_interpreter_can_work_whatever_lies_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemError\n")
    monkeypatch.chdir(tmp_path)
    found = examine_interpreter(Path(sys.executable))
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["pytest"] == pytest.__version__
