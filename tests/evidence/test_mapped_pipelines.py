"""Every class that diffusers maps is named; what was tried stands in the docs as it came out."""

from pathlib import Path

import pytest

from evidence.mapped_pipelines import __main__ as command
from evidence.mapped_pipelines.probing import Abilities
from evidence.mapped_pipelines.table import CLASSES, NEEDS_A_PICTURE, Try, list_mapped
from sdperf.models.layout import starts_from_pictures

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def documented(name):
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    return row


def test_a_new_class_of_diffusers_is_missed_until_it_is_named():
    assert set(list_mapped()) <= set(CLASSES), (
        "name the new class in evidence.mapped_pipelines.table"
    )


def test_what_needs_a_picture_is_what_the_loader_refuses():
    refused = {name for name in CLASSES if starts_from_pictures(name)}
    assert refused == {name for name, entry in CLASSES.items() if entry == NEEDS_A_PICTURE}


@pytest.mark.parametrize("name", list_mapped())
def test_each_class_has_its_row_in_the_docs(name):
    row, entry = documented(name), CLASSES[name]
    assert row.count("|") == command.HEAD.count("|")
    if not isinstance(entry, Try):
        assert row == command.format_row(name, entry)


@pytest.mark.parametrize("name", ["Krea2Pipeline", "AuraFlowPipeline"])
def test_a_row_is_what_trying_gives(name):
    assert documented(name) == command.format_row(name, command.try_class(name))


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CLASSES if isinstance(CLASSES[name], Try)])
def test_every_row_is_what_trying_gives(name):
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
