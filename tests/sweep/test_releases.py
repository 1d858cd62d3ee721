import subprocess
import sys

import pytest
from packaging.version import Version

from sdperf.ab.sides.environments import EnvironmentStore
from sdperf.ab.sides.present import read_present_environment
from sdperf.errors import ConfigurationError, PackageError
from sdperf.sweep.releases import (
    ReleaseRange,
    keep_index_options,
    list_releases,
    parse_offered,
    parse_release_range,
    select_releases,
)
from tests.ab.sides.test_environments import make_wheel

SAID = """\
planted-sd (2.10.0)
Available versions: 2.10.0, 2.9.1, 2.9.0, 2.9.0rc1, 1.0, dev-build
  INSTALLED: 2.9.0
"""


@pytest.mark.parametrize(
    ("text", "first", "last", "expected"),
    [
        ("torch", None, None, "torch"),
        ("Torch_Vision", "2.6", None, "torch-vision 2.6 .."),
        ("torch", None, "2.9", "torch .. 2.9"),
        ("torch 2.6 ..", None, None, "torch 2.6 .."),
        ("torch 2.6 .. 2.9", None, None, "torch 2.6 .. 2.9"),
        ("torch 2.6..2.9", None, None, "torch 2.6 .. 2.9"),
        ("torch .. 2.9", None, None, "torch .. 2.9"),
        ("torch 2.6 ..", None, "2.9", "torch 2.6 .. 2.9"),
    ],
)
def test_a_range_is_read_in_each_of_its_forms(text, first, last, expected):
    assert str(parse_release_range(text, first, last)) == expected


@pytest.mark.parametrize(
    ("text", "first", "last", "words"),
    [
        ("", None, None, "--python-package cannot be used"),
        ("torch 2.6", None, None, "--python-package cannot be used; got: torch 2.6"),
        ("torch==2.6", None, None, "--python-package cannot be used"),
        ("torch two ..", None, None, "--from is no version; got: two"),
        ("torch", "2.6", "new", "--to is no version; got: new"),
        ("torch 2.6 ..", "2.7", None, "both name an end; got: 2.7 and 2.6"),
        ("torch 2.9 .. 2.6", None, None, "do: sdperf sweep --python-package 'torch 2.6 .. 2.9'"),
    ],
)
def test_what_is_no_range_is_one_message(text, first, last, words):
    with pytest.raises(ConfigurationError) as error:
        parse_release_range(text, first, last)
    assert words in str(error.value)
    assert "do: " in str(error.value)


def test_releases_are_ordered_as_versions_and_what_is_none_is_left_out():
    offered = parse_offered(SAID)
    assert [str(one) for one in offered] == ["1.0", "2.9.0rc1", "2.9.0", "2.9.1", "2.10.0"]
    with pytest.raises(ConfigurationError, match="did not say which releases"):
        parse_offered("Available versions: none, at all")
    with pytest.raises(ConfigurationError, match="got: nothing"):
        parse_offered("")


def test_both_ends_belong_to_the_range_and_the_last_takes_its_patches_in():
    offered = parse_offered(SAID)
    asked = ReleaseRange("x", Version("2.9.0"), Version("2.9"))
    assert select_releases(asked, offered) == ("2.9.0", "2.9.1")
    assert select_releases(ReleaseRange("x", Version("2.9.1")), offered) == ("2.9.1", "2.10.0")
    with pytest.raises(
        PackageError, match=r"no release lies in x 3 \.\.; got: the newest on offer"
    ):
        select_releases(ReleaseRange("x", Version("3")), offered)


@pytest.mark.parametrize(
    ("last", "version", "holds"),
    [
        ("2.9", "2.9.1", True),
        ("2.9", "2.9.post1", True),
        ("2.9", "2.10", False),
        ("2.9", "1!2.9.1", False),
        ("1!2.9", "1!2.9.1", True),
        ("2.9rc1", "2.9rc1", True),
        ("2.9rc1", "2.9", False),
        ("2.9rc1", "2.9.1", False),
        ("2.9.post1", "2.9.post1", True),
        ("2.9.post1", "2.9.1", False),
        ("2.9.dev1", "2.9.1", False),
    ],
)
def test_only_a_plain_release_takes_in_what_begins_with_it(last, version, holds):
    assert ReleaseRange("x", None, Version(last)).holds(Version(version)) == holds


def test_options_that_say_where_to_look_are_passed_to_the_index_and_no_others():
    given = ["--no-deps", "--index-url=https://example.org", "-f", "here", "--pre", "--upgrade"]
    assert keep_index_options(given) == ["--index-url=https://example.org", "-f", "here", "--pre"]
    assert keep_index_options(["--find-links"]) == ["--find-links"]


def test_the_index_is_asked_by_pip_itself(tmp_path):
    """With pip itself, and wheels in a folder: no network."""
    for version in ("1.0", "1.10", "1.2"):
        make_wheel(tmp_path, version)
    options = ("--no-index", f"--find-links={tmp_path}", "--no-deps")
    asked = ReleaseRange("planted-sd")
    assert list_releases(asked, options) == ("1.0", "1.2", "1.10")
    with pytest.raises(PackageError, match="the package index offers no no-such-thing"):
        list_releases(ReleaseRange("no-such-thing"), options)


def test_pips_own_variables_say_where_to_look(tmp_path, monkeypatch):
    """As on a machine without a network: no option is given, and a folder has the wheels."""
    for version in ("1.0", "1.10"):
        make_wheel(tmp_path, version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert list_releases(ReleaseRange("planted-sd"), ()) == ("1.0", "1.10")
    store = EnvironmentStore(tmp_path / "environments", read_present_environment())
    with store.opened(["planted-sd==1.10"]) as (_, record):
        assert record.versions == {"planted-sd": "1.10"}


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("Failed to establish a new connection: x", ConfigurationError, "cannot be downloaded"),
        (f"{sys.executable}: No module named pip", ConfigurationError, "no pip"),
        ("ERROR: unknown command", ConfigurationError, "pip cannot list .*; got: unknown command"),
    ],
)
def test_an_index_that_cannot_be_asked_is_one_message(said, kind, words):
    def fail(command, note):
        assert command[:3] == [sys.executable, "-m", "pip"]
        note(said)
        return 1

    with pytest.raises(kind, match=words):
        list_releases(ReleaseRange("planted-sd"), (), fail)


def test_pip_knows_the_command_that_asks(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-m", "pip", "index", "--help"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert "versions" in shown
