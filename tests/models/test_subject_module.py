"""The module of a subject is looked for without executing the package that holds it."""

import pytest

from sdperf.errors import SubjectError
from sdperf.models import subject
from sdperf.models.subject import require_module

DAMAGE = "raise RuntimeError('executed')\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder with a package that fails when it is executed."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "oils"
    (folder / "deep" / "er").mkdir(parents=True)
    folder.joinpath("__init__.py").write_text(DAMAGE)
    for name in ("brush.py", "deep/__init__.py", "deep/er/knife.py"):
        folder.joinpath(name).write_text(DAMAGE)
    return folder


@pytest.mark.parametrize("name", ["oils", "oils.brush", "oils.deep", "oils.deep.er.knife"])
def test_a_module_that_is_there_is_found_and_nothing_executed(package, monkeypatch, name):
    monkeypatch.setattr(subject.subprocess, "run", None)
    require_module(f"{name}:make")


def test_a_package_that_fails_is_left_to_the_worker_which_says_so(package):
    require_module("oils.nope:make")


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("oils.nope", "no nope in oils"),
        ("oils.brush.nope", "no nope in oils.brush"),
        ("oils.deep.er.nope", "no nope in oils.deep.er"),
    ],
)
def test_a_module_that_the_package_lacks_is_refused(package, name, got):
    for file in package.rglob("*.py"):
        file.write_text("")
    with pytest.raises(SubjectError, match=f"{name} cannot be found; got: {got};"):
        require_module(f"{name}:make")


def test_a_package_may_say_itself_where_its_modules_lie(package):
    package.joinpath("__init__.py").write_text(
        "import os\n__path__.append(os.path.join(__path__[0], 'deep', 'er'))\n"
    )
    for file in ("deep/__init__.py", "deep/er/knife.py"):
        package.joinpath(file).write_text("")
    require_module("oils.knife:make")
    with pytest.raises(SubjectError, match="no nope in oils"):
        require_module("oils.nope:make")
