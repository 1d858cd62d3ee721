"""An error names the line of the user's own that it comes from."""

import json
import sys

import pytest

from sdperf.models.failing_line import describe_failing_line


def catch(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture
def make_module(tmp_path, monkeypatch):
    """Write a module into the current folder and import it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def make_module(name, text):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(text)
        return __import__(name)

    return make_module


def test_a_line_of_ones_own_is_named_with_what_is_written_there(make_module):
    module = make_module("mine_raising", "def make(table):\n    return   table['unet']\n")
    line = describe_failing_line(catch(module.make, {}))
    assert line == "mine_raising.py:2 in make: return table['unet']"


def test_the_last_own_line_counts_where_a_library_raises(make_module):
    module = make_module("mine_calling", "import json\ndef make(text):\n    json.loads(text)\n")
    line = describe_failing_line(catch(module.make, "{"))
    assert line == "mine_calling.py:3 in make: json.loads(text)"


def test_where_nothing_is_ones_own_the_last_line_of_all_is_named_if_it_is_asked_for(monkeypatch):
    error = catch(json.loads, "{")
    error.__traceback__ = error.__traceback__.tb_next.tb_next  # without this file's own two lines
    assert describe_failing_line(error) is None
    assert "/json/decoder.py:" in describe_failing_line(error, last=True)


def test_an_error_that_was_never_raised_comes_from_no_line():
    assert describe_failing_line(KeyError("x"), last=True) is None
