import tomllib

from tools.lowest_versions import PROJECT, list_lowest


def test_each_lower_bound_is_pinned_and_markers_are_heeded():
    project = {
        "dependencies": ["b>=2.1,<3", "torch>=2.6", "a", "psycopg[binary]>=3.2.1"],
        "optional-dependencies": {
            "x": ["b>=2.10", "never>=1; python_version < '3'"],
            "y": ["unasked>=1"],
        },
    }
    assert list_lowest(project, ["x"]) == ["b==2.10", "psycopg==3.2.1"]


def test_a_second_bound_holds_for_a_later_python_only():
    bounds = ["a>=2.0", "a>=2.1; python_version >= '3'", "b>=2.0", "b>=2.1; python_version >= '4'"]
    project = {"dependencies": bounds, "optional-dependencies": {}}
    assert list_lowest(project, []) == ["a==2.1", "b==2.0"]


def test_the_project_promises_what_the_command_installs():
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    found = list_lowest(project, ["dev", "nvidia"])
    assert f"transformers=={'4.56'}" in found
    assert not any(line.startswith("torch==") for line in found)
