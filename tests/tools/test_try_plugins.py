"""The trial of other plugins: what of it needs no plugin. `python -m tools.try_plugins` does it."""

import dataclasses
import sys
from pathlib import Path

import pytest

from tools.try_plugins import (
    BEGIN,
    END,
    LOADED,
    PAGE,
    TRIALS,
    format_rows,
    list_switches,
    main,
    read_versions,
    replace_table,
    try_one,
)


def test_the_page_says_what_was_tried_and_with_which_version():
    page = PAGE.read_text(encoding="utf-8")
    versions = read_versions(page)
    assert set(versions) == {one.plugin for one in TRIALS} == set(LOADED)
    table = page.partition(f"{BEGIN}\n")[2].partition(f"\n{END}")[0]
    assert table.splitlines() == format_rows(TRIALS, versions)


def test_a_table_is_replaced_and_the_words_around_it_stay():
    page = f"head\n{BEGIN}\nold\n{END}\ntail\n"
    once = replace_table(page, ["| a |"])
    assert once == f"head\n{BEGIN}\n| a |\n{END}\ntail\n"
    assert replace_table(once, ["| a |"]) == once


def test_every_plugin_but_the_one_that_is_tried_is_switched_off():
    words = list_switches("pytest-cov")
    assert "no:pytest_cov" not in words
    assert words.count("-p") == len(LOADED) - 1
    assert "no:xdist" in words


@pytest.fixture
def environment(tmp_path):
    """A stand-in for an environment: its python says what the test wants."""
    program = tmp_path / "environment" / "bin" / "python"
    program.parent.mkdir(parents=True)

    def make(said, status):
        program.write_text(f"#!/bin/sh\nls\necho '{said}'\nexit {status}\n")
        program.chmod(0o755)
        return program.parents[1]

    return make


def test_what_differs_from_what_is_written_down_is_seen(environment, tmp_path):
    refused = next(one for one in TRIALS if one.answer == "refused")
    assert try_one(refused, environment(refused.says, refused.status), tmp_path / "a") is None
    assert "status 0" in try_one(refused, environment(refused.says, 0), tmp_path / "b")
    assert "expected" in try_one(refused, environment("2 passed", refused.status), tmp_path / "c")
    with_files = next(one for one in TRIALS if one.files)
    listed = dataclasses.replace(with_files, says=next(iter(with_files.files)))
    assert try_one(listed, environment("", listed.status), tmp_path / "d") is None


def test_an_unknown_plugin_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["try_plugins", "coverage"])
    with pytest.raises(SystemExit):
        main()
    assert "unknown: coverage; known: asyncio, " in capsys.readouterr().err


def test_the_nightly_workflow_tries_them():
    workflow = Path(__file__).parents[2] / ".github" / "workflows" / "nightly.yml"
    assert "python -m tools.try_plugins" in workflow.read_text(encoding="utf-8")
