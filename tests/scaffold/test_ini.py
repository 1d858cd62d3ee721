"""Settings are added as lines to the file that pytest reads, and nothing else of it changes."""

import tomllib

import iniconfig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import ConfigurationError
from sdperf.scaffold.ini import PLACES, IniPlace, add_settings, find_place, list_set
from sdperf.scaffold.lines import split_lines

MODEL = {"sd_model": "./my finetune"}
BY_FILE = {
    "pytest.toml": '[pytest]\nminversion = "9.0"\n',
    ".pytest.toml": "",
    "pytest.ini": "[pytest]\n# mine\naddopts = -q  \n",
    ".pytest.ini": "",
    "pyproject.toml": '[project]\nname = "x"\n\n[tool.pytest.ini_options]\naddopts = "-q"\n',
    "tox.ini": "[tox]\nenvlist = py\n\n[pytest]\naddopts = -q\n",
    "setup.cfg": "[metadata]\nname = x\n\n[tool:pytest]\naddopts = -q\n",
}


@pytest.mark.parametrize("name", BY_FILE)
def test_lines_are_added_where_pytest_reads_and_every_other_line_stays(name):
    text = BY_FILE[name]
    place = find_place({name: text})
    assert place.file == name
    after = add_settings(text, place, MODEL)
    assert list_set(after, place)["sd_model"] == "./my finetune"
    assert [line for line in text.splitlines() if line not in after.splitlines()] == []


def test_pytest_itself_reads_what_was_added(pytester):
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\naddopts = "-q"\n')
    path = pytester.path / "pyproject.toml"
    place = find_place({"pyproject.toml": path.read_text()})
    path.write_text(add_settings(path.read_text(), place, {"sd_steps": "7"}))
    pytester.makepyfile(
        "def test_read(pytestconfig): assert pytestconfig.getini('sd_steps') == '7'"
    )
    assert pytester.runpytest_subprocess("-p", "no:cacheprovider").ret == 0


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, IniPlace("pytest.ini", "pytest")),
        ({"pyproject.toml": ""}, IniPlace("pyproject.toml", "tool.pytest.ini_options")),
        ({"pyproject.toml": "[tool.pytest]\naddopts = ['-q']\n"}, PLACES[4]),
        ({"pyproject.toml": "", "tox.ini": "[pytest]\n"}, PLACES[6]),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "pytest.ini": ""}, PLACES[2]),
        ({"setup.cfg": "[metadata]\nname = x\n"}, IniPlace("pytest.ini", "pytest")),
    ],
)
def test_the_place_is_the_one_that_pytest_reads(files, expected):
    assert (find_place(files).file, find_place(files).section) == (expected.file, expected.section)


@pytest.mark.parametrize(
    ("name", "text"), [("pyproject.toml", "[tool\n"), ("pytest.ini", "[pytest]\n x\n y: 1\n]")]
)
def test_a_file_that_cannot_be_parsed_is_named(name, text):
    with pytest.raises(ConfigurationError, match=rf"{name} cannot be read"):
        find_place({name: text})


def test_a_header_inside_a_text_is_no_place_for_a_line():
    text = 'words = """\n[tool.pytest.ini_options]\n"""\n\n[tool.pytest.ini_options]\na = "1"\n'
    with pytest.raises(ConfigurationError, match='by hand: sd_model = "x"'):
        add_settings(text, find_place({"pyproject.toml": text}), {"sd_model": "x"})


def test_an_inline_table_is_left_to_its_owner():
    text = 'tool.pytest.ini_options = { addopts = "-q" }\n'
    with pytest.raises(ConfigurationError):
        add_settings(text, find_place({"pyproject.toml": text}), {"sd_model": "x"})


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_any_value_comes_back_from_toml_as_it_was_given(value):
    text = '[tool.pytest.ini_options]\naddopts = "-q"\n'
    place = find_place({"pyproject.toml": text})
    after = add_settings(text, place, {"sd_model": value})
    assert tomllib.loads(after)["tool"]["pytest"]["ini_options"]["sd_model"] == value


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1))
def test_a_value_comes_back_from_an_ini_file_or_is_refused(value):
    place = find_place({})
    try:
        after = add_settings("", place, {"sd_model": value})
    except ConfigurationError:
        return
    assert iniconfig.IniConfig("pytest.ini", data=after)["pytest"]["sd_model"] == value


@pytest.mark.parametrize("name", BY_FILE)
def test_added_lines_end_as_the_others_do_and_nothing_else_changes(name):
    text = BY_FILE[name].replace("\n", "\r\n") + "# x\x0c# y\x1c# z\r\n"
    if name.endswith(".toml"):
        text = text.replace("\x0c", "\u2028").replace("\x1c", "\x85")
    if name.startswith("."):
        text = ""
    place = find_place({name: text})
    added = [
        line
        for line in split_lines(add_settings(text, place, MODEL))
        if line not in split_lines(text)
    ]
    kept = add_settings(text, place, MODEL)
    for line in added:
        kept = kept.replace(line, "", 1)
    assert kept in (text, text + "\r\n", text + "\n")
    assert all(line.endswith("\r\n") for line in added) or not text


def test_a_header_with_a_comment_or_a_byte_order_mark_is_found():
    for text in ("[pytest] ; x\naddopts = -q\n", "\ufeff[pytest]\naddopts = -q\n"):
        after = add_settings(text, find_place({"pytest.ini": text}), {"sd_model": "x"})
        head, rest = text.split("\n", 1)
        assert after == f"{head}\nsd_model = x\n{rest}"


@pytest.mark.parametrize(
    "text",
    [
        'tool.pytest.ini_options.addopts = "-q"\n',
        'tool = {pytest={ini_options={addopts="-q"}}}\n',
        '["tool" . pytest.ini_options]\naddopts = "-q"\n',
        '\ufeff[project]\nname = "x"\n',
    ],
)
def test_a_valid_file_that_cannot_be_added_to_is_no_broken_file(text):
    with pytest.raises(
        ConfigurationError, match=r"cannot be added to.*by hand: sd_model"
    ) as caught:
        add_settings(text, find_place({"pyproject.toml": text}), {"sd_model": "x"})
    assert "cannot be read" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pyproject.toml", '[[tool.pytest.ini_options]]\naddopts = "-q"\n', "tool.pytest.ini_opt"),
        ("pyproject.toml", '[tool.pytest]\nini_options = "x"\n', "tool.pytest.ini_options"),
        ("pyproject.toml", 'tool = "x"\n', "tool"),
        ("pyproject.toml", "tool.pytest = 1\n", "tool.pytest"),
        ("pytest.toml", 'pytest = "x"\n', "pytest"),
    ],
)
def test_what_should_be_a_table_and_is_none_is_one_message(name, text, said):
    with pytest.raises(ConfigurationError, match=rf"from {name}.*{said}\w* is no table"):
        list_set(text, find_place({name: text}))


def test_a_file_that_no_parser_takes_is_one_message():
    for text in ("x = " + "[" * 100_000, "x = 1" + "0" * 5000):
        with pytest.raises(ConfigurationError, match=r"pyproject\.toml cannot be read"):
            find_place({"pyproject.toml": text})
