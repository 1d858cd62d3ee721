"""Every class that diffusers maps is named; what was tried stands in the docs as it came out."""

from importlib.metadata import version
from pathlib import Path

import pytest

from evidence.mapped_pipelines import __main__ as command
from evidence.mapped_pipelines.probing import Abilities
from evidence.mapped_pipelines.table import (
    CLASSES,
    PICTURE_CLASSES,
    Try,
    list_mapped,
    list_mapped_pictures,
)
from sdperf.models.layout import is_measured
from sdperf.record.execution import AskedExecution
from tests.support.newer_classes import skip_where_diffusers_is_older

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SEVEN_STEPS = AskedExecution(steps=7, fewest_steps=7)
PICTURES_PAGE = PAGE.with_name("pictures-in.md")


def documented(name, page=PAGE):
    (row,) = [line for line in page.read_text().splitlines() if line.startswith(f"| `{name}` ")]
    return row


def skip_where_something_is_missing(entry):
    if not entry.is_possible:
        pytest.skip(f"needs {' and '.join(entry.needs)}")


def try_picture_row(name):
    return command.format_picture_row(name, command.try_class(name, PICTURE_CLASSES))


def test_a_new_class_of_diffusers_is_missed_until_it_is_named():
    assert set(list_mapped()) <= set(CLASSES), (
        "name the new class in evidence.mapped_pipelines.table"
    )
    assert set(list_mapped_pictures()) <= set(PICTURE_CLASSES), (
        "name the new class in evidence.mapped_pipelines.table"
    )


def test_what_the_loader_refuses_was_not_tried():
    both = [*CLASSES.items(), *PICTURE_CLASSES.items()]
    refused = {name for name, _ in both if not is_measured(name)}
    assert refused
    assert not [name for name, entry in both if name in refused and isinstance(entry, Try)]


@pytest.mark.parametrize("name", list_mapped_pictures())
def test_each_class_that_draws_from_a_picture_has_its_row(name):
    row, entry = documented(name, PICTURES_PAGE), PICTURE_CLASSES[name]
    assert row.count("|") == command.PICTURES_HEAD.count("|")
    if not isinstance(entry, Try):
        assert row == command.format_picture_row(name, entry)


@pytest.mark.parametrize("name", ["StableDiffusionXLInpaintPipeline", "FluxKontextPipeline"])
def test_a_row_of_a_picture_is_what_trying_gives(name):
    assert documented(name, PICTURES_PAGE) == try_picture_row(name)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name for name, entry in PICTURE_CLASSES.items() if isinstance(entry, Try)]
)
def test_every_row_of_a_picture_is_what_trying_gives(name):
    skip_where_something_is_missing(PICTURE_CLASSES[name])
    assert documented(name, PICTURES_PAGE) == try_picture_row(name)


def test_other_steps_than_were_planned_fail_their_row(monkeypatch):
    monkeypatch.setattr("evidence.mapped_pipelines.probing.describe_asked", lambda *_: SEVEN_STEPS)
    row = try_picture_row("StableDiffusionXLInpaintPipeline")
    assert row.startswith("| `StableDiffusionXLInpaintPipeline` | fails: something else was")
    assert "asked for 7 steps, executed 3" in row


@pytest.mark.parametrize("name", list_mapped())
def test_each_class_has_its_row_in_the_docs(name):
    row, entry = documented(name), CLASSES[name]
    assert row.count("|") == command.HEAD.count("|")
    if not isinstance(entry, Try):
        assert row == command.format_row(name, entry)


@pytest.mark.parametrize("name", ["Krea2Pipeline", "AuraFlowPipeline"])
def test_a_row_is_what_trying_gives(name):
    skip_where_diffusers_is_older(name)
    assert documented(name) == command.format_row(name, command.try_class(name))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CLASSES if isinstance(CLASSES[name], Try)])
def test_every_row_is_what_trying_gives(name):
    skip_where_something_is_missing(CLASSES[name])
    assert documented(name) == command.format_row(name, command.try_class(name))


def test_a_class_that_fails_says_why_in_its_row(monkeypatch):
    def build():
        raise ValueError("no such part\nmore")

    monkeypatch.setitem(CLASSES, "Odd", Try(build))
    assert command.format_row("Odd", command.try_class("Odd")).startswith(
        "| `Odd` | fails: no such part |"
    )
    assert command.try_class("Unheard") == "not tried"


def test_the_table_takes_its_place_in_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{command.MARKS[0]}\nold\n{command.MARKS[1]}\nafter\n")
    tried = Abilities("hooks", "as drawn", "yes", "vae", "yes", 16)
    monkeypatch.setattr(command, "try_class", lambda _: tried)
    monkeypatch.setattr("sys.argv", ["it", "--only", "FluxPipeline", "--write", str(page)])
    command.main()
    text = page.read_text()
    assert "| `FluxPipeline` | hooks | as drawn | yes | vae | yes | 16 |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    page.write_text("no marks")
    with pytest.raises(ValueError, match="lacks"):
        command.main()
    assert page.read_text() == "no marks"


def test_a_row_whose_package_is_missing_keeps_the_words_of_the_page(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    kept = "| `FluxPipeline` (nonesuch 1.0, torch 2.0) | hooks | | | | | |"
    other = "| `ChromaPipeline` | whole | | | | | |"
    page.write_text("\n".join([command.MARKS[0], other, kept, command.MARKS[1]]))
    monkeypatch.setitem(CLASSES, "FluxPipeline", Try(pytest.fail, needs=("nonesuch",)))
    monkeypatch.setattr("sys.argv", ["it", "--only", "FluxPipeline", "--write", str(page)])
    command.main()
    assert {kept, other} <= set(page.read_text().splitlines())
    assert "FluxPipeline keeps its row: needs nonesuch" in capsys.readouterr().err
    page.write_text("\n".join(command.MARKS))
    command.main()
    assert "| `FluxPipeline` | needs nonesuch | | | | | |" in page.read_text()


def test_a_row_says_what_was_needed_to_try_it(monkeypatch):
    tried = Abilities("hooks", "as drawn", "yes", "vae", "yes", 16)
    monkeypatch.setitem(CLASSES, "Odd", Try(pytest.fail, needs=("numpy",)))
    own = version("torch").partition("+")[0]
    label = f"| `Odd` (numpy {version('numpy')}, torch {own}) |"
    assert command.format_row("Odd", tried) == f"{label} hooks | as drawn | yes | vae | yes | 16 |"


@pytest.mark.parametrize("classes", [CLASSES, PICTURE_CLASSES])
def test_what_needs_a_package_says_in_the_docs_with_which_it_was_tried(classes):
    page = PAGE if classes is CLASSES else PICTURES_PAGE
    needing = {name: one for name, one in classes.items() if isinstance(one, Try) and one.needs}
    assert needing
    for name, entry in needing.items():
        for package in (*entry.needs, "torch"):
            assert f"{package} " in documented(name, page).split("|")[1]
        assert "fails" not in documented(name, page)
