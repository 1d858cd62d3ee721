"""The shipped table of operators, and which version is meant."""

import json

import pytest
import torch
from packaging.version import Version

from sdperf.errors import ConfigurationError
from sdperf.mps_check import dispatch
from sdperf.mps_check.dispatch import known_versions, load_dispatch_table
from sdperf.mps_check.torchgen_routes import read_torchgen_routes

PLACES = {
    "add.Tensor": "m",  # structured: the kernel is registered for add.out
    "linear": "m",  # a composite elsewhere, with a kernel of its own on MPS
    "softmax.int": "i",
    "convolution": "e",
    "embedding_renorm_": "c",  # registered in C++ only, as a way to the CPU
    "linalg_eig": "x",
}


@pytest.mark.parametrize("version", known_versions())
def test_every_version_knows_where_these_go(version):
    table = load_dispatch_table(version, "0.0")
    assert {name: table.letter(f"aten::{name}") for name in PLACES} == PLACES
    assert table.knows_library


def test_versions_differ_where_torch_changed():
    at = {one: load_dispatch_table(one, "0.0") for one in ("2.8.0", "2.10.0", "2.14.1")}
    assert [at[one].letter("aten::native_group_norm") for one in at] == ["p", "p", "m"]
    assert [at[one].letter("aten::linalg_svd") for one in at] == ["c", "c", "i"]
    assert at["2.8.0"].letter("aten::no_such_operator") == "-"
    assert at["2.8.0"].letter("torchvision::nms") is None


@pytest.mark.parametrize("operator", ["native_group_norm", "native_group_norm_backward"])
def test_group_norm_is_registered_in_python_up_to_2_12_and_has_a_kernel_from_2_13_on(operator):
    for version in known_versions():
        table = load_dispatch_table(version, "0")
        is_old = Version(version) < Version("2.13")
        assert table.letter(f"aten::{operator}") == ("p" if is_old else "m"), version
        assert (operator in table.in_python) == is_old, version
        place = table.in_python.get(operator, "torch/backends/mps/__init__.py")
        assert place.startswith("torch/backends/mps/__init__.py")


def test_every_release_of_two_years_has_a_table():
    releases = {".".join(version.split(".")[:2]) for version in known_versions()}
    assert releases == {f"2.{minor}" for minor in range(6, 16)}


def test_the_table_agrees_with_the_torchgen_that_is_installed():
    installed = str(torch.__version__).partition("+")[0]
    if installed not in known_versions():
        pytest.skip(f"torch {installed} is not in the table")
    table = load_dispatch_table(None, str(torch.__version__))
    own = read_torchgen_routes()
    differing = {name for name in own if own[name] != table.letters[name]}
    content = json.loads(dispatch.TABLE_PATH.read_text())
    (listed,) = [one for one in content["versions"] if one["version"] == installed]
    in_python = {each["operator"] for each in listed["python"]}
    assert differing <= set(listed["by_hand"]) | in_python  # which torchgen does not know of


@pytest.mark.parametrize(
    ("asked", "got"), [("2.14", "2.14.1"), ("2.8", "2.8.0"), ("2.9.0", "2.9.0")]
)
def test_a_version_without_its_last_number_is_the_newest_of_them(asked, got):
    assert str(load_dispatch_table(asked, "0.0").version) == got


@pytest.mark.long
def test_an_installed_version_outside_the_table_is_read_from_its_own_torchgen():
    table = load_dispatch_table(None, "2.99.0.dev20260101+cpu")
    assert not table.knows_library
    assert table.letter("aten::linear") == "m"
    assert f"2.99.0.dev20260101 is newer than {known_versions()[-1]}" in table.note
    assert "in a clone of sdperf, python -m tools.mps_tables 2.99.0.dev20260101" in table.note


@pytest.mark.parametrize("asked", ["2.5.1", "3.0", "2.14.9"])
def test_an_unknown_version_is_refused_with_those_that_are_known(asked):
    with pytest.raises(ConfigurationError, match=r"nothing is known.*2\.8\.0.*2\.14\.1"):
        load_dispatch_table(asked, "2.13.0")


@pytest.mark.parametrize(
    ("asked", "nearest"), [("9.9", known_versions()[-1]), ("2.14.9", "2.14.1"), ("1.0", "2.6.0")]
)
def test_the_refusal_says_what_whoever_installed_a_wheel_can_type(asked, nearest):
    with pytest.raises(ConfigurationError) as refused:
        load_dispatch_table(asked, "2.13.0")
    choices = refused.value.hint.split("; or")
    assert choices[0] == f"--torch-version {nearest}"
    assert load_dispatch_table(nearest, "2.13.0").knows_library
    assert f"install torch {asked} and leave --torch-version out" in choices[1]
    assert [one for one in choices if "tools" in one] == [
        f", in a clone of sdperf, add its table: python -m tools.mps_tables {asked}"
    ]


def test_what_is_no_version_is_refused():
    with pytest.raises(ConfigurationError, match="--torch-version is no version"):
        load_dispatch_table("newest", "2.13.0")


@pytest.mark.parametrize("letters", ["mm", "q"])
def test_a_damaged_table_is_refused(letters, tmp_path, monkeypatch):
    content = json.loads(dispatch.TABLE_PATH.read_text())
    content["operators"]["linear"] = letters
    (tmp_path / "dispatch.json").write_text(json.dumps(content))
    monkeypatch.setattr(dispatch, "TABLE_PATH", tmp_path / "dispatch.json")
    monkeypatch.setattr(dispatch, "_read_table", dispatch._read_table.__wrapped__)
    with pytest.raises(ConfigurationError, match=r"dispatch\.json is damaged"):
        dispatch._read_table()
