"""The shape of the package: rooms of a dozen files, no circles, names that stand once."""

import dataclasses

import pytest

from tools.house_counts import (
    MOST_FILES,
    MOST_LINES,
    PACKAGE,
    Flow,
    count_files,
    count_lines,
    find_circle,
    find_shared_names,
    holds,
    read_imports,
)


def test_no_files_import_each_other_in_a_circle():
    assert find_circle(read_imports(PACKAGE)) == []


def test_a_room_has_about_a_dozen_files():
    crowded = {str(folder): n for folder, n in count_files(PACKAGE).items() if n > MOST_FILES}
    assert crowded == {}


def test_a_file_can_be_read_in_one_sitting():
    long = {str(path): n for path, n in count_lines(PACKAGE).items() if n > MOST_LINES}
    assert long == {}


def test_each_class_has_a_name_of_its_own():
    assert find_shared_names(PACKAGE) == {}


def test_the_rules_can_fail(tmp_path):
    package = tmp_path / "planted"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from planted.b import x\n\nclass Twice: ...\n")
    (package / "b.py").write_text("import planted.a\n\nclass Twice: ...\nclass Once: ...\n")
    assert find_circle(read_imports(package)) == ["planted.a", "planted.b"]
    assert count_files(package)[package] == 2
    assert count_lines(package)[package / "b.py"] == 4
    assert find_shared_names(package) == {"Twice": ["a.py", "b.py"]}


@dataclasses.dataclass
class Box:
    inner: object


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, True),
        (0.25, False),
        ([{"a": 0.5}], True),
        (Box((0.5,)), True),
        (Box(Box(Box(Box(0.5)))), False),
        ("0.5", False),
        (None, False),
    ],
)
def test_a_number_is_found_in_what_holds_it(value, expected):
    assert holds(value, 0.5) is expected


def test_a_number_is_followed_from_function_to_function():
    import sys

    def given(box):
        return not_given(1) or box

    def not_given(number):
        return number

    flow = Flow(0.5, __file__)
    sys.setprofile(flow)
    try:
        given(Box(0.5))
    finally:
        sys.setprofile(None)
    assert {name for _, _, name in flow.functions} >= {"given"}
    assert "not_given" not in {name for _, _, name in flow.functions}
